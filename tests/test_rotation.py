"""The rotation soak in short (tests/chaos/rotation.py): rotations and kill -9 under load lose no line and repeat none."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.rotation import Soak
from tests.needs import need_root


def test_every_line_is_an_event_once_through_rotations_and_kills(tmp_path: Path) -> None:
    need_root()

    result = Soak(tmp_path / "soak", rate=5000, every=0.5, lives=(1.0, 3.0)).run(8)

    assert result.broken == []
    assert result.kills >= 2
    assert min(result.told.rotations.values()) >= 1
    assert result.told.written > 5000
