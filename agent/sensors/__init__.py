"""One file, one sensor: a stream that becomes events. agent/event.py says what an event is."""
