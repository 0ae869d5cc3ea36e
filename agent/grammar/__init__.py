"""What ops write, read and typed: policies and agent.yaml, with every mistake at its line and column."""
