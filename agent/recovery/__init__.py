"""How mitigations end: rung by rung, by shares, when it is quiet; and what happens when it comes again."""
