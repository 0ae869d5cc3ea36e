"""How text becomes events: what parsers and sensors are, and how a log is followed without losing a line."""
