"""Ends that come although the agent is dead: capsules, systemd's timers, and `contain expire`."""
