"""What people tell the agent beside single orders: approvals, lists, pauses, silences. Each is a book of the state."""
