"""One file, one parser: text of one program that becomes events. agent/event.py says what an event is."""
