"""A host that can be closed: the openings of the machines of network.py, and what is done with them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent.action import Answer
from agent.systems.perimeter import Opening, Perimeter
from tests.needs import need_root
from tests.network import SOMEBODY_ELSES, nft

HOUR = timedelta(hours=1)
OPENINGS = (
    Opening("10.77.2.1", (22,), "in", "an operator"),
    Opening("fd77:2::1", (22,), "in", "an operator"),
    Opening("10.77.2.1", (53,), "out", "a name server"),
    Opening("fd77:2::1", (53,), "out", "a name server"),
)
"""The bystander is the operator and the name server."""


@pytest.fixture
def perimeter() -> Iterator[Perimeter]:
    """Nothing is closed, and somebody else has rules too; afterwards everything is open again."""
    need_root()
    nft(SOMEBODY_ELSES)
    yield Perimeter(lambda: OPENINGS)
    for table in ("containment_host", "somebody"):
        subprocess.run(["nft", "delete", "table", "inet", table], check=False, timeout=10, capture_output=True)


def close(perimeter: Perimeter, ttl: timedelta | None = HOUR, openings: tuple[Opening, ...] = OPENINGS) -> None:
    assert perimeter.perform([perimeter.close(openings=openings, ttl=ttl)]) == [Answer()]


def open_again(perimeter: Perimeter) -> None:
    assert perimeter.perform([perimeter.open_again()]) == [Answer()]


def holds(perimeter: Perimeter, openings: tuple[Opening, ...] = OPENINGS) -> object:
    (answer,) = perimeter.perform([perimeter.is_closed(openings=openings)])
    assert answer.error is None
    return answer.value
