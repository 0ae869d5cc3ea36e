"""What scanners have found already, so that only what is new is an event."""
