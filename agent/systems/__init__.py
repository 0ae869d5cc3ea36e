"""The outside systems the agent touches: one file each, and the only code that touches them."""
