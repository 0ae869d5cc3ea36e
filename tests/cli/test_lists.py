"""`contain list`: what people add is lifted and left alone at once, shown with its end and reason, and taken off again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent.cli.ends import Exit
from tests.cli.command import at_terminal
from tests.cli.conftest import Agent

OURS = "203.0.113.77"


@pytest.fixture(autouse=True)
def tidy(agent: Agent) -> Iterator[None]:
    yield
    for name in ("never_touch", "office"):
        agent("list", "remove", name, OURS)
    agent("undo", OURS)


def add(agent: Agent, *more: str, name: str = "never_touch", ip: str = OURS) -> None:
    done = agent("list", "add", name, ip, "--for", "8h", "--why", "our scanner", *more)
    assert done.code == Exit.DONE, done.err


def test_adding_lifts_what_is_in_force_and_later_orders_are_refused_with_reason_and_mend(agent: Agent) -> None:
    agent("block", OURS, "--for", "1h")

    done = agent("list", "add", "never_touch", OURS, "--for", "8h", "--why", "our scanner")
    again = agent("block", OURS, "--for", "1h")

    assert done.code == Exit.DONE
    assert "What was in force against it is being lifted: M-" in done.out
    assert again.code == Exit.REFUSED
    assert "our scanner; take it off: contain list remove never_touch 203.0.113.77" in again.err


def test_a_check_exits_with_0_where_somebody_leaves_it_alone_and_with_1_where_nobody_does(agent: Agent) -> None:
    unknown = agent("list", "check", OURS)
    add(agent)
    known = agent("list", "check", OURS)
    configured = agent("list", "check", "192.0.2.7", "--json")

    assert (unknown.code, unknown.out) == (Exit.FAILED, f"{OURS} is on no list, and no life-line.\n")
    assert known.code == Exit.DONE
    assert known.out.startswith(f"never_touch: {OURS}: our scanner, until ")
    (answer,) = json.loads(configured.out)["items"]
    assert answer["listed"]
    assert {row["list"] for row in answer["items"]} == {"office"}


def test_a_check_shows_what_is_in_force_against_the_address(agent: Agent) -> None:
    agent("block", OURS, "--for", "1h")

    done = agent("list", "check", OURS)

    assert done.code == Exit.FAILED
    assert f"in force: drop every packet from and to {OURS} for 1h; undo: contain undo M-" in done.out


def test_show_tells_what_is_configured_learnt_added_and_always_so(agent: Agent) -> None:
    add(agent)

    rows = json.loads(agent("list", "--json").out)["items"]
    office = agent("list", "show", "office")

    (ours,) = [row for row in rows if row["address"] == OURS]
    assert (ours["from"], ours["why"]) == ("added", "our scanner")
    assert ours["by"].endswith("(uid 0)")
    assert ours["until"].endswith("Z")
    assert {"198.18.0.77", "127.0.0.1", "224.0.0.0/3"} <= {row["address"] for row in rows}
    assert "192.0.2.0/25" in office.out
    assert OURS not in office.out


def test_what_is_taken_off_can_be_blocked_again(agent: Agent) -> None:
    add(agent)

    done = agent("list", "remove", "never_touch", OURS, "--why", "it is over")
    blocked = agent("block", OURS, "--for", "1h")

    assert (done.code, done.out) == (Exit.DONE, f"{OURS} is off never_touch.\n")
    assert blocked.code == Exit.DONE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "ofice", OURS, "--for", "1h", "--why", "x"), Exit.USAGE, "did you mean `office`?"),
        (("add", "never_touch", OURS, "--why", "x"), Exit.USAGE, "'--for'"),
        (("add", "never_touch", OURS, "--for", "1h"), Exit.USAGE, "'--why'"),
        (("add", "never_touch", OURS, "--for", "91d", "--why", "x"), Exit.USAGE, "90d are the longest"),
        (("add", "never_touch", OURS, "--for", "forever", "--why", "x"), Exit.USAGE, "`forever` is not a time"),
        (("add", "never_touch", "203.0.113.7/24", "--for", "1h", "--why", "x"), Exit.USAGE, "write 203.0.113.0/24"),
        (("add", "never_touch", "0.0.0.0/0", "--for", "1h", "--why", "x"), Exit.WAITS, "wider than /8"),
        (("add", "never_touch", OURS, "--for", "1h", "--why", "x", "--policy", "shh"), Exit.USAGE, "no policy is called `shh`"),
        (("show", "nobody"), Exit.USAGE, "Known: never_touch, office, monitoring"),
        (("check", "nonsense"), Exit.USAGE, "neither an address nor a network"),
    ],
)
def test_mistakes_are_told_with_their_mend(agent: Agent, words: tuple[str, ...], code: Exit, said: str) -> None:
    done = agent("list", *words)

    assert done.code == code
    assert said in done.err


def test_a_very_wide_network_is_added_after_a_person_typed_it(agent: Agent) -> None:
    words = ("list", "add", "office", "32.0.0.0/7", "--for", "1h", "--why", "a drill")

    done = at_terminal(*words, env=agent.env, typed="32.0.0.0/7\n")

    assert done.code == Exit.DONE, done.out
    assert agent("list", "remove", "office", "32.0.0.0/7").code == Exit.DONE


def test_removing_what_agent_yaml_names_says_where_it_stands(agent: Agent) -> None:
    done = agent("list", "remove", "never_touch", "198.18.0.77")

    assert done.code == Exit.DONE
    assert "it is never_touch in agent.yaml" in done.out


def test_listing_is_evidence_in_plain_words(agent: Agent) -> None:
    add(agent, name="office")
    agent("list", "remove", "office", OURS, "--why", "it is over")

    said = agent("evidence", "show").out

    assert f"{OURS} is on office until " in said
    assert f"{OURS} is off office (" in said
