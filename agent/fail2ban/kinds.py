"""The kind of event that fail2ban's filters make."""

from __future__ import annotations

from typing import Final

from agent.event import Kind

FAILURE: Final = Kind(
    "fail2ban.failure",
    "A filter of fail2ban's matched: somebody was refused, or asked for what nobody honest asks for.",
    {"filter": "text", "src.ip": "address", "id": "text", "user": "text"},
    forgeable=True,
    open="f.",
)
"""`filter` is the filter as agent.yaml names it, `id` what fail2ban would ban: mostly the address. `src.ip` is absent where the
filter tells no single address; host names are never looked up. `f.` has the filter's other groups: `f.port` for `<F-PORT>`."""
