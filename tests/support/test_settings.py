"""What `contain config show` says: every setting, its source, what the agent goes by, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agent.support.configured import AT_START
from agent.wiring import AT_START as PARTS
from agent.wiring import read_config_file
from tests.needs import need, need_root
from tests.running import NEVER, Running, contain

YAML = """\
version: 1
host: db1
state: state
socket: agent.sock
policies: [policies]
never_touch: ["198.18.0.77"]
limits: {max: 100 per 10m}
lists: {office: ["192.0.2.0/25"], monitoring: []}
feeds: {threats: {file: threats.txt}}
sensors:
  auth: {logfile: {path: auth.log, parsers: [sshd], from_start: true}}
checks:
  disks: {disk: {used_limit: 90}, every: 1m}
  backup: {exec: {command: [/usr/bin/check, "a, b: c # d", "yes"]}}
systems:
  postgres: {main: {host: /run/postgresql, user: agent, password_file: pg}}
notify:
  channels: {ops: {slack: {channel: C0123456789, token_file: /run/credentials/containment-agent.service/slack}}}
  routes: {P0: [ops]}
maintenance: {deploy: {days: [tue], from: "22:30", to: "23:30", why: "weekly: deploy"}}
canary: off
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "agent.yaml"
    made.write_text(YAML)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.yaml").write_text(NEVER)
    return made


def shown(file: Path, *words: str) -> dict[str, Any]:
    done = contain("config", "show", *words, "--json", "--config", str(file), check=True)
    (item,) = json.loads(done.stdout)["items"]
    return dict(item)


def rows(file: Path, *words: str) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in shown(file, *words)["settings"]}


def test_a_setting_says_its_line_and_a_default_that_it_is_one(file: Path) -> None:
    found = rows(file)

    assert found["limits.max"] | {"note": ""} == found["limits.max"]
    assert (found["limits.max"]["value"], found["limits.max"]["source"]) == ('"100 per 10m"', f"{file}:7")
    assert (found["limits.cooldown"]["value"], found["limits.cooldown"]["source"]) == ("1m", "default")
    assert (found["checks.disks.every"]["value"], found["checks.backup.every"]["source"]) == ("1m", "default")
    assert found["pages"]["value"] is None


def test_where_secrets_are_is_told_and_systemds_are_told_apart(file: Path) -> None:
    found = rows(file)

    assert found["systems.postgres.main.password_file"]["note"] == "a secret, in that file"
    assert found["notify.channels.ops.slack"]["note"] == "a secret of systemd's, in the credentials directory"


def test_as_yaml_it_is_an_agent_yaml_that_means_the_same(file: Path) -> None:
    done = contain("config", "show", "--yaml", "--config", str(file), check=True)
    again = file.with_name("again.yaml")
    again.write_text(done.stdout)

    one, other = read_config_file(file), read_config_file(again)

    apart = [each.name for each in fields(one) if each.compare and getattr(one, each.name) != getattr(other, each.name)]
    assert [name for name in apart if name != "notifiers"] == []
    assert "limits:\n" in done.stdout
    assert f"# {file}:7" in done.stdout


def test_one_part_can_be_asked_for_and_a_mistyped_one_is_told(file: Path) -> None:
    wrong = contain("config", "show", "limit", "--config", str(file))

    assert set(rows(file, "limits")) == {"limits.max", "limits.max_active", "limits.cooldown", "limits.max_share"}
    assert (wrong.returncode, wrong.stderr.splitlines()[1]) == (2, "did you mean `limits.max`?")


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("hooks: {roll: {run: [/bin/true, --password, hunter2hunter2]}}", "hunter2hunter2"),
        ('hooks: {roll: {run: [/bin/true, "https://bob:hunter2hunter2@shop/"]}}', "hunter2hunter2"),
        ("protected: [unit hunter2hunter2]", "hunter2hunter2"),
    ],
)
def test_secrets_are_never_shown(file: Path, line: str, secret: str) -> None:
    """The last one stands in agent.yaml in another place than the file that it is the secret of."""
    file.with_name("pg").write_text("hunter2hunter2\n")
    file.write_text(f"{YAML}{line}\n")

    said = [
        contain("config", "show", *words, "--config", str(file), check=True).stdout for words in ((), ("--yaml",), ("--json",))
    ]

    assert [one for one in said if secret in one] == []


def test_what_counts_from_the_next_start_is_the_same_list_everywhere() -> None:
    systems = {"postgres", "vault", "docker"}

    assert {"systems" if one in systems else one for one in PARTS} == AT_START


# Beside a running agent -----------------------------------------------------------------------------------------------


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    need_root()
    need("nft", "nftables")
    with Running(tmp_path, "limits: {cooldown: 2m}\nssh_ports: [22]\n", NEVER) as made:
        yield made


def test_what_was_changed_since_the_last_reload_is_told(agent: Running) -> None:
    before = shown(agent.config)
    agent.config.write_text(agent.config.read_text().replace("2m", "3m").replace("[22]", "[22, 23]"))
    (agent.place / "policies" / "test.yaml").write_text(NEVER.replace("100", "90"))

    after = shown(agent.config)
    found = {one["key"]: (one["value"], one["running"], one["note"]) for one in after["settings"] if one["note"]}
    agent.contain("reload")
    then = shown(agent.config)

    assert (before["agent"]["says"], [one["note"] for one in before["settings"] if one["note"]]) == ("it goes by this file", [])
    assert found == {
        "limits.cooldown": ("3m", "2m", "the agent goes by 2m; changed on disk since the last reload: contain reload"),
        "ssh_ports": ("[22, 23]", "[22]", "the agent goes by [22]; changed on disk; counts from the next start of the agent"),
    }
    assert after["agent"]["says"] == "changed on disk since the last reload: contain reload"
    assert [one["note"] for one in after["policies"]] == ["changed on disk since the last reload: contain reload"]
    assert [one["key"] for one in then["settings"] if one["note"]] == ["ssh_ports"]
    assert [one["note"] for one in then["policies"]] == [""]


def test_a_dry_run_of_the_command_line_is_told(tmp_path: Path) -> None:
    need_root()
    made = Running(tmp_path, "mode: enforce\n", NEVER)
    made.start("--dry-run")
    try:
        assert shown(made.config)["agent"]["forced"] == "dry_run"
    finally:
        made.stop()
