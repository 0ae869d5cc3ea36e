"""`contain incidents regime`, `notified`, `publish`: a person begins and ends the clock of a law, and says what is public."""

from __future__ import annotations

import json

from agent.cli.ends import Exit
from tests.cli.conftest import Agent


def reported(agent: Agent, text: str) -> str:
    done = agent("report", text, "--json")
    assert done.code == Exit.DONE, done.err
    (answer,) = json.loads(done.out)["items"]
    return str(answer["incident"])


def test_a_clock_is_begun_shown_and_ended_by_a_person(agent: Agent) -> None:
    name = reported(agent, "a dump with names lies in a public bucket")

    begun = agent("incidents", "regime", name, "gdpr", "--why", "names and addresses")
    running = agent("incidents", "show", name)
    given = agent("incidents", "notified", name, "gdpr", "--why", "sent, reference 7")
    over = agent("incidents", "show", name)
    again = agent("incidents", "notified", name, "gdpr", "--why", "sent")

    assert (begun.code, begun.out) == (Exit.DONE, f"{name} has the clock of GDPR.\n")
    assert f"GDPR notification is due; when it is given: contain incidents notified {name} gdpr" in running.out
    assert given.code == Exit.DONE
    assert "GDPR notification was given" in over.out
    assert again.out == f"Nothing to do: no clock of GDPR runs for {name}.\n"


def test_nothing_is_told_in_public_where_there_is_no_such_channel(agent: Agent) -> None:
    name = reported(agent, "nobody can log in")

    done = agent("incidents", "publish", name, "--why", "customers ask")

    assert done.code == Exit.FAILED
    assert "no channel that strangers read" in done.err


def test_a_law_that_is_not_known_is_a_mistake_in_the_command(agent: Agent) -> None:
    assert agent("incidents", "regime", "INC-1", "hipaa", "--why", "x").code == Exit.USAGE
