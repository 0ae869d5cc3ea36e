"""What the agent is given on other systems, as scripts that their owners read and run once."""
