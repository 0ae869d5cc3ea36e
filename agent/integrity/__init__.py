"""File integrity: what files were, what they are, and how the difference is seen, told once and accepted."""
