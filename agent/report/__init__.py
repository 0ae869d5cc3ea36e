"""The report after an incident, and how fast incidents were responded to: from the journal alone."""
