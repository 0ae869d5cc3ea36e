"""The lines under `recover:`: two spellings of a release, one of an early end, and what none of them is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.grammar.policy_recover import After, after, release
from agent.recovery.rungs import Ladder, Proof, Recover, Shares

MINUTES = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("limit 10m then observe 10m", Ladder(MINUTES, 10, MINUTES)),
        ("limit 10m, observe 10m", Ladder(MINUTES, 10, MINUTES)),
        ("limit 10m at 20/s then observe 10m", Ladder(MINUTES, 20, MINUTES)),
        ("limit 10m at 20/s", Ladder(MINUTES, 20, None)),
        ("observe 10m", Ladder(None, 10, MINUTES)),
        ("25% every 10m", Shares(25, MINUTES)),
    ],
)
def test_a_release_is_read(text: str, meant: Ladder | Shares) -> None:
    assert release(text) == meant
    assert release(str(meant)) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "limit",
        "observe",
        "limit 10",
        "limit 0s",
        "limit 10m at 0/s",
        "limit 10m at 999999/s",
        "observe 10m then limit 10m",
        "limit 10m then limit 10m",
        "limit 10m then observe 10m then observe 10m",
        "observe 10m, observe 10m",
        "25%",
        "0% every 5m",
        "100% every 5m",
        "25% every 0s",
        "25% every 5m then observe 10m",
        "slowly",
    ],
)
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot|nothing"):
        release(text)


def test_an_early_end_is_read() -> None:
    assert after("quiet 10m") == After("quiet", MINUTES)
    assert [after(one).when for one in ("ttl", "manual", "resolved")] == ["ttl", "manual", "resolved"]
    assert after("ok") == After("ok", ok=Proof(3))
    assert after("ok 5 of 5") == After("ok", ok=Proof(5))
    assert after("ok 10m") == After("ok", ok=Proof(span=MINUTES))


@pytest.mark.parametrize(
    "text", ["quiet", "quiet 0s", "quietly", "10m", "ok 0s", "ok 3", "ok 3 of 5", "ok 0 of 0", "okay", "resolved 5m"]
)
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not one of|nothing|cannot be"):
        after(text)


def test_rungs_follow_one_another_at_fixed_points_in_time() -> None:
    whole = Recover(release=Ladder(MINUTES, 20, MINUTES), watch=MINUTES)

    seen = [whole.fallen(0.0, at) for at in (0.0, 599.0, 600.0, 1200.0, 1799.0, 1800.0)]

    assert seen == [
        ("limited", 600.0),
        ("limited", 600.0),
        ("observed", 1200.0),
        ("watched", 1800.0),
        ("watched", 1800.0),
        ("off", 1800.0),
    ]
    assert whole.fallen(0.0, 0.0, below="limited") == ("observed", 600.0)
    assert whole.fallen(0.0, 0.0, below="watched") == ("off", 0.0)
    assert Recover(release=Ladder(observe=MINUTES)).fallen(0.0, 0.0) == ("observed", 600.0)
