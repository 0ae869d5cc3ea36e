"""Policies at work on events: field maps, exact bounded windows, explanations, and tests in virtual time."""
