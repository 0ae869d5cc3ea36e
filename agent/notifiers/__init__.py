"""The shelf of channels that people are told by: one file each, found by its name."""
