"""The real agent tells people: through trouble, restarts and deaths, and at last by the terminals of its host."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.evidence.journal_read import read_only
from agent.grammar.config import Config
from agent.needs import Needs
from agent.notifiers.email import Email
from agent.notifiers.webhook import Webhook
from agent.notifying.examine import examine
from agent.notifying.routes import Routes
from agent.notifying.servers import servers
from agent.schema import spoken
from agent.systems.containers import Containers
from agent.systems.postgres import Postgres
from tests.needs import need_root
from tests.receiver import Receiver
from tests.running import Running, wait_for

pytestmark = pytest.mark.usefixtures("network")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def agent_with(place: Path, channels: dict[str, str], more: str = "") -> Running:
    """An agent whose channels post to these addresses."""
    rows = ", ".join(f'{name}: {{webhook: {{url: "{url}", within: 2s}}}}' for name, url in channels.items())
    return Running(place, f"notify: {{channels: {{{rows}}}{more}}}\n", "")


def report(agent: Running, text: str = "the shop is slow", severity: str = "P1", **more: Any) -> str:
    """A person tells of something; the incident's name."""
    answer = agent.ask("report", text=text, severity=severity, **more)
    return str(answer["incident"])


def records(place: Path, *kinds: str) -> list[Any]:
    with read_only(place / "state" / "journal.db") as reader:
        return [one.record for one in reader.records(limit=100_000) if one.record.kind in kinds]


def test_what_a_person_reports_reaches_the_channel_and_status_says_that_all_was_told(tmp_path: Path, receiver: Receiver) -> None:
    with agent_with(tmp_path, {"hook": receiver.url}) as agent:
        name = report(agent)
        wait_for(lambda: receiver.had)
        (told,) = wait_for(lambda: [one for one in agent.ask("notify")["channels"] if one["last"] and not one["unsent"]])
        listed = agent.contain("notify")
        status = agent.contain("status")

    assert receiver.had[f"{name}/1/notice"]["headline"].startswith("P1 ")
    assert told["error"] == ""
    assert listed.stdout.split("\t")[:4] == ["hook", "webhook", "webhook at 127.0.0.1", "P0, P1, P2"]
    assert "\nnotify\thook\twebhook\t0\t" in status.stdout


def test_trouble_loses_and_doubles_nothing(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (429, {"Retry-After": "1"})]
    receiver.takes_before_error = True
    with agent_with(tmp_path, {"hook": receiver.url}) as agent:
        name = report(agent)
        wait_for(lambda: len(receiver.posts) == 3)
        agent.ask("acknowledge", what=name)
        wait_for(lambda: "acknowledged" in receiver.whats)
        said = [one.body["result"] for one in records(tmp_path, "not_told")]

    assert [status for _, status in receiver.posts] == [500, 429, 204, 204]
    assert list(receiver.had) == [f"{name}/1/notice", f"{name}/2/notice"]
    assert said == ["unsure", "busy"]


def test_a_death_in_the_middle_of_a_call_is_a_doubt_and_what_waited_is_told_after_the_next_start(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.wait.clear()
    agent = agent_with(tmp_path, {"hook": receiver.url})
    with agent:
        name = report(agent)
        wait_for(receiver.waiting.is_set)
        agent.ask("acknowledge", what=name)
        agent.kill()
        receiver.wait.set()
        wait_for(lambda: receiver.had)
        agent.start()
        wait_for(lambda: len(receiver.had) == 2)
        agent.stop()
    doubts = [(one.body["notice"], one.body["doubtful"]) for one in records(tmp_path, "sending")]

    assert doubts == [(f"{name}/1", False), (f"{name}/1", True), (f"{name}/2", False)]
    assert list(receiver.had) == [f"{name}/1/notice", f"{name}/2/notice"]


def test_deaths_at_any_moment_lose_nothing_and_keep_the_order(tmp_path: Path, receiver: Receiver) -> None:
    agent = agent_with(tmp_path, {"hook": receiver.url})
    try:
        agent.start()
        names = [report(agent, f"trouble {number}") for number in range(3)]
        for name in names:
            agent.ask("acknowledge", what=name)
        for _ in range(4):
            time.sleep(random.uniform(0, 0.05))  # anywhere: before, in and after a call
            agent.kill()
            agent.start()
            names.append(report(agent, f"more trouble {len(names)}"))
        wait_for(lambda: {one["incident"] for one in receiver.had.values()} >= {_lead(agent, name) for name in names})
        wait_for(lambda: not any(one["unsent"] for one in agent.ask("notify")["channels"]))
    finally:
        agent.kill()
    noted = {one.body["notice"]["key"] for one in records(tmp_path, "notice")}

    assert {key.removesuffix("/notice") for key in receiver.had} == noted
    for name in {key.split("/")[0] for key in noted}:
        numbers = [int(key.split("/")[1]) for key in receiver.had if key.startswith(f"{name}/")]
        assert numbers == sorted(numbers)


def _lead(agent: Running, name: str) -> str:
    found = [one for one in agent.ask("incidents", ended=True)["items"] if one["id"] == name]
    return str(found[0]["lead"] or name) if found else name


def test_a_stop_waits_for_a_call_that_is_out(tmp_path: Path, receiver: Receiver) -> None:
    receiver.wait.clear()
    with agent_with(tmp_path, {"hook": receiver.url}) as agent:
        report(agent)
        wait_for(receiver.waiting.is_set)
        assert agent.process is not None
        agent.process.terminate()
        time.sleep(0.3)
        receiver.wait.set()
        agent.process.wait(10)
    said = [one.kind for one in records(tmp_path, "told", "stopped")]

    assert said == ["told", "stopped"]


def test_a_channel_is_mended_by_a_reload_alone(tmp_path: Path, receiver: Receiver) -> None:
    with agent_with(tmp_path, {"hook": "http://127.0.0.1:1/in"}) as agent:
        report(agent)
        wait_for(lambda: agent.ask("notify")["channels"][0]["error"])
        agent.config.write_text(agent.config.read_text().replace("http://127.0.0.1:1/in", receiver.url))
        answer = agent.ask("reload")
        wait_for(lambda: receiver.had, 10)

    assert answer["result"] == "reloaded"
    assert answer["restart"] == []


def test_where_nobody_will_have_it_the_terminals_are_told_and_status_is_red(tmp_path: Path, receiver: Receiver) -> None:
    need_root()
    receiver.always = (403, {})
    said, programs = tmp_path / "said", tmp_path / "bin"
    programs.mkdir()
    (programs / "wall").write_text(f"#!/bin/sh\ncat >> {said}\n")
    (programs / "wall").chmod(0o755)
    agent = agent_with(tmp_path, {"hook": receiver.url, "mail": receiver.url}, ", routes: {P1: [hook]}, fallback: [mail]")
    try:
        agent.start(PATH=f"{programs}:{os.environ['PATH']}")
        name = report(agent, "the vault is\x1b[2J open, password=hunter22-hunter22")
        wait_for(lambda: said.exists() and said.read_text())
        status = agent.contain("status", "--exit-code")
    finally:
        agent.kill()
    kinds = [one.kind for one in records(tmp_path, "fell_back", "cried")]

    assert said.read_text().startswith("containment-agent: P1 ")
    assert "\x1b" not in said.read_text()
    assert "hunter22" not in said.read_text()
    assert f"contain ack {name}" in said.read_text()
    assert kinds == ["fell_back", "cried"]
    assert f"\nuntold\t{name}\t" in status.stdout
    assert status.returncode == 10


def test_a_channel_that_is_silent_starves_only_itself(tmp_path: Path, receiver: Receiver) -> None:
    deaf = Receiver()
    deaf.wait.clear()
    with agent_with(tmp_path, {"deaf": deaf.url, "hook": receiver.url}) as agent:
        name = report(agent)
        agent.ask("acknowledge", what=name)
        wait_for(lambda: len(receiver.had) == 2, 5)
        told = agent.ask("ping")
    deaf.close()

    assert told is not None
    assert list(receiver.had) == [f"{name}/1/notice", f"{name}/2/notice"]


def test_a_secret_in_a_strangers_words_goes_nowhere(tmp_path: Path, receiver: Receiver) -> None:
    with agent_with(tmp_path, {"hook": receiver.url}) as agent:
        report(agent, "they log in with password=hunter22-hunter22")
        wait_for(lambda: receiver.had)

    text = json.dumps(list(receiver.had.values()))
    assert "hunter22" not in text
    assert "[redacted:" in text


def test_a_secret_of_a_channel_is_kept_out_of_evidence(tmp_path: Path, receiver: Receiver) -> None:
    key = tmp_path / "hook.key"
    key.write_text("lorem-ipsum-dolor-sit\n")
    key.chmod(0o600)
    agent = Running(tmp_path, f'notify: {{channels: {{hook: {{webhook: {{url: "{receiver.url}", hmac_file: {key}}}}}}}}}\n', "")
    with agent:
        report(agent)
        wait_for(lambda: receiver.had)
        report(agent, "somebody pasted lorem-ipsum-dolor-sit into the chat", ip="203.0.113.9")
        wait_for(lambda: len(receiver.had) > 1)
        agent.stop()

    assert "lorem-ipsum" not in json.dumps(list(receiver.had.values()))
    assert b"lorem-ipsum" not in (tmp_path / "state" / "journal.db").read_bytes()


# The command line -----------------------------------------------------------------------------------------------------------


def test_a_test_goes_the_whole_way_and_its_exit_status_says_what_came_of_it(tmp_path: Path, receiver: Receiver) -> None:
    broken = Receiver()
    broken.always = (403, {})
    with agent_with(tmp_path, {"hook": receiver.url, "broken": broken.url}) as agent:
        one = agent.contain("notify", "test", "hook")
        both = agent.contain("notify", "test", "P1")
        none = agent.contain("notify", "test", "broken", "--json")
        dry = agent.contain("notify", "test", "P0", "--dry-run", "--json")
        unknown = agent.contain("notify", "test", "hok")
        daily = agent.contain("notify", "test", "P3")
    broken.close()

    assert (one.returncode, both.returncode, none.returncode, dry.returncode, unknown.returncode, daily.returncode) == (
        0,
        6,
        1,
        0,
        1,
        1,
    )
    assert one.stdout.startswith("told\thook\twebhook\twebhook at 127.0.0.1\t")
    assert "refused\tbroken" in both.stdout
    assert json.loads(none.stdout)["items"][0]["channels"][0]["result"] == "refused"
    assert json.loads(dry.stdout)["items"][0]["notice"]["what"] == "test"
    assert "no channel is called `hok`; known: hook, broken" in unknown.stderr
    assert receiver.whats == ["test", "test"]


def test_what_waits_can_be_thrown_away(tmp_path: Path) -> None:
    with agent_with(tmp_path, {"hook": "http://127.0.0.1:1/in"}) as agent:
        report(agent)
        wait_for(lambda: agent.ask("notify")["channels"][0]["error"])
        asked = agent.contain("notify", "drop", "hook", "--why", "seen")
        done = wait_for(lambda: _dropped(agent), 10)
        again = agent.contain("notify", "drop", "hook", "--why", "seen", "--yes")

    assert asked.returncode == 4
    assert done.stdout == "Thrown away: 1, 1 of it urgent.\n"
    assert again.stdout == "Nothing waits for hook.\n"


def _dropped(agent: Running) -> Any:
    """Not in the moment of a call, which is not thrown away."""
    done = agent.contain("notify", "drop", "hook", "--why", "seen", "--yes")
    return done if "Thrown" in done.stdout else None


def test_without_channels_it_says_how_to_name_one(tmp_path: Path) -> None:
    with Running(tmp_path, "", "") as agent:
        listed = agent.contain("notify")
        tested = agent.contain("notify", "test", "P0")

    assert "nobody is told of anything; write notify:" in listed.stderr
    assert tested.returncode == 1
    assert "write notify: {channels: {…}}" in tested.stderr


# What is needed for it ------------------------------------------------------------------------------------------------------


def test_the_servers_of_channels_are_life_lines_and_stay_open() -> None:
    mail = Email(server="192.0.2.25:587", from_="a@example.com", to=("b@example.com",))
    hook = Webhook(url="https://192.0.2.26:8443/in")
    needs = Needs(lambda: Config(notifiers={"mail": mail, "hook": hook}), Postgres({}), Containers())

    found = {(one.network, one.ports, one.direction) for one in needs.openings()}

    assert found == {("192.0.2.25", (587,), "out"), ("192.0.2.26", (8443,), "out")}
    assert {spoken(one.network): one.why for one in needs.lines()}["192.0.2.25"] == "channel mail to people, in agent.yaml"


def test_a_server_without_a_port_is_that_of_https() -> None:
    assert servers(Webhook(url="https://hooks.example.com/in")) == [("hooks.example.com", 443)]


def test_the_doctor_looks_at_secrets_and_servers_and_tells_nobody(tmp_path: Path, receiver: Receiver) -> None:
    key = tmp_path / "key"
    key.write_text("a secret")
    key.chmod(0o644)
    well, deaf = Webhook(url=receiver.url), Webhook(url="http://127.0.0.1:1/in")
    routes = Routes(by={"P0": ("well",)})

    seen = list(examine({"well": well, "deaf": deaf, "open": Webhook(url=receiver.url, hmac_file=key)}, routes))
    nothing = list(examine({}, Routes()))

    assert [(what, ok) for what, ok, _, _ in seen] == [
        ("channel well", True),
        ("channel deaf", False),
        ("channel open", False),
        ("notify P1", None),
    ]
    assert "everybody can read" in seen[2][2]
    assert nothing[0][1] is None
    assert receiver.posts == []
