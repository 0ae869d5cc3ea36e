"""Numbers for Prometheus: what was counted since the start, and how things stand, as `contain status` has it."""
