"""Lists of addresses that others keep: fetched or read again and again, bounded, kept for a start without network."""
