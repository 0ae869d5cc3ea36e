"""Telling people: what there is to say about an incident, to whom, when again, and that it gets through."""
