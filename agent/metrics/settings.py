"""What agent.yaml says about metrics: where they are told, and to whom. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.intake.settings import Listen, Tls


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `metrics:`. `anybody` says that whoever reaches the address may read them."""

    listen: Listen | None = None
    socket: Path | None = None
    tls: Tls | None = None
    anybody: bool = False
