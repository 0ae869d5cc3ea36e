"""The event that a decision of CrowdSec is."""

from __future__ import annotations

from typing import Final

from agent.event import Kind

DECISION: Final = Kind(
    "crowdsec.decision",
    "CrowdSec decided on this host about an address or a network; what its community or its lists say makes no events.",
    {"src.ip": "address", "scenario": "text", "origin": "text", "type": "text", "duration": "number"},
)
"""`type` is ban, captcha or what a profile names, `duration` is in seconds, `origin` is crowdsec (its engine) or cscli (a person)
and the like."""
