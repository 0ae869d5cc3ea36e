"""containment-agent: watch this host, decide by policies, contain, and prove every step."""

__version__ = "0.1.0"
