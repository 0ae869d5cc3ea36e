"""What is written of the code for people: docs/reference/ and the man pages, made of the very classes that do the work."""
