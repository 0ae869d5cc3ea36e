"""What policies would have done about what was really seen: stored events through the agent's own heart, in virtual time."""
