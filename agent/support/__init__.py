"""For those who look after the agent, or help somebody who does: what holds here and where it comes from, without secrets."""
