"""What other tools send us: one file for each tool's document, read into events."""
