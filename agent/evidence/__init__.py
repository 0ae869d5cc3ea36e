"""The journal: what was decided and what came of it, chained, signed, redacted, exported and checked."""
