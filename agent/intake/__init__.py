"""The HTTP intake: what other tools POST, from the socket to the events of one document."""
