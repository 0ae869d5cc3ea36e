"""agent.yaml: typed, complete, and every mistake in it told at its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

import pytest

from agent.action import CannotReach
from agent.grammar.config import LIMITS, Config, connection, find, read_config, with_lists
from agent.grammar.config_keys import PostgresKeys
from agent.grammar.problem import Problem, Problems
from agent.policy import Limits, Rate
from agent.schema import Duration, Port
from tests.catalogue import CATALOGUE
from tests.grammar import seeds

SEEDED = Path(__file__).parent / "seeded_config" / "agent.yaml"


@dataclass(frozen=True)
class Logfile:
    """A log file."""

    path: str
    parsers: tuple[str, ...]

    @property
    def source(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class Kernel:
    """The kernel's counters."""

    every: Duration = timedelta(seconds=5)
    source: ClassVar[str] = "kernel"


@dataclass(frozen=True)
class Tcp:
    """A port answers."""

    host: str
    port: Port


@dataclass(frozen=True)
class Level:
    """A value lies between two others."""

    floor: int
    limit: int

    def __post_init__(self) -> None:
        if self.floor >= self.limit:
            raise ValueError("floor is not below limit; write the smaller one as floor")


@dataclass(frozen=True)
class Locks:
    """A check that needs a database."""

    instance: str = "main"
    needs: ClassVar[dict[str, type]] = {"postgres": object}


SENSORS: dict[str, type] = {"logfile": Logfile, "kernel": Kernel}
CHECKS: dict[str, type] = {"tcp": Tcp, "level": Level, "locks": Locks}


def config(text: str) -> Config:
    return read_config(text, "etc/agent.yaml", sensors=SENSORS, checks=CHECKS)


def told(text: str) -> list[Problem]:
    with pytest.raises(Problems) as raised:
        config(text)
    return list(raised.value.found)


WHOLE = """
version: 1
host: db1
state: ../var/lib
socket: /run/contain.sock
policies: [policies, /etc/more]
mode: enforce
never_touch: [10.0.0.1, "2001:db8::/32"]
lists: {office: [198.51.100.0/24], nobody: []}
limits: {max: 20 per 1m, max_active: 7}
sensors:
  auth: {logfile: {path: /var/log/auth.log, parsers: [sshd, sudo]}}
  counters: {kernel: }
checks:
  shop: {tcp: {host: shop, port: 443}, every: 30s}
  locks: {locks: {}}
systems:
  postgres:
    main: {host: /run/postgresql, user: agent, password_file: secret}
    other: {dsn: "postgresql://agent@db/postgres"}
ssh_ports: [22, 2222]
evidence: {keep_events: 3d, keep_size: 256MiB}
"""


# What is right ----------------------------------------------------------------------------------------------------------


def test_one_line_is_a_whole_configuration_that_changes_nothing() -> None:
    made = config("version: 1\n")

    assert (made.mode, made.limits, made.ssh_ports, made.checks) == ("dry_run", LIMITS, (22,), {})
    assert made.policies == (Path("/etc/containment-agent/policies"),)
    assert made.journal == Path("/var/lib/containment-agent/journal.db")
    assert (made.evidence.keep_events, made.evidence.keep_size) == (timedelta(days=7), 1 << 30)


def test_everything_that_can_be_said_is_typed() -> None:
    made = config(WHOLE)

    assert (made.host, made.mode, made.ssh_ports) == ("db1", "enforce", (22, 2222))
    assert made.never_touch == (ip_network("10.0.0.1"), ip_network("2001:db8::/32"))
    assert made.lists == {"office": (ip_network("198.51.100.0/24"),), "nobody": ()}
    assert made.sensors == {"auth": Logfile("/var/log/auth.log", ("sshd", "sudo")), "counters": Kernel()}
    assert (made.evidence.keep_events, made.evidence.keep_size) == (timedelta(days=3), 256 << 20)


def test_a_check_has_its_own_rhythm_or_the_usual_one() -> None:
    checks = config(WHOLE).checks

    assert (checks["shop"].question, checks["shop"].every) == (Tcp("shop", 443), timedelta(seconds=30))
    assert (checks["locks"].every, checks["locks"].timeout) == (timedelta(seconds=10), timedelta(seconds=3))


def test_a_path_is_relative_to_the_file_it_stands_in() -> None:
    made = config(WHOLE)

    assert made.state == Path("etc/../var/lib")
    assert made.policies == (Path("etc/policies"), Path("/etc/more"))
    assert made.postgres["main"].password_file == Path("etc/secret")


def test_a_limit_that_is_not_given_is_the_usual_one() -> None:
    assert config(WHOLE).limits == Limits(Rate(20, timedelta(minutes=1)), 7, LIMITS.cooldown, share=LIMITS.share)


def test_policies_may_name_the_lists() -> None:
    assert with_lists(CATALOGUE, config(WHOLE)).lists.keys() == {"office", "nobody", "threats"}


# Mistakes -----------------------------------------------------------------------------------------------------------------


def test_every_seeded_mistake_is_found_at_its_place_with_its_hint_and_nothing_else_is() -> None:
    text = SEEDED.read_text()
    wanted = [(str(seed), seed.hint) for seed in seeds.seeds("agent.yaml", text)]

    with pytest.raises(Problems) as raised:
        read_config(text, "agent.yaml", sensors=SENSORS, checks=CHECKS)

    assert [(f"{one.place}: {one.level}: {one.text}", one.hint) for one in raised.value.found] == wanted
    assert len(wanted) >= 40


@pytest.mark.parametrize("secret", ["hunter2", "hun@ter2", "hun,ter2", "hun ter2"])
@pytest.mark.parametrize("line", ["dsn: 'postgresql://agent:{}@db/x'", "password: '{}'", 'dsn: "host=db password={}"'])
def test_a_problem_never_shows_a_password(secret: str, line: str) -> None:
    text = f"version: 1\nsystems:\n  postgres:\n    main: {{{line.format(secret)}, usr: x}}\n"

    found = told(text)

    assert len(found) >= 1
    assert not any("ter2" in f"{one} {one.to_json()}" for one in found)


def test_a_check_names_a_database_that_is_there() -> None:
    text = "version: 1\nchecks:\n  waits: {locks: {instance: mian}}\n"

    alone = told(text)
    beside = told(text + "systems: {postgres: {main: {host: db}}}\n")

    assert [one.hint for one in alone] == ["add it: systems: {postgres: {mian: {dsn: …}}}"]
    assert [(str(one.place), one.hint) for one in beside] == [("etc/agent.yaml:3:29", "did you mean `main`?")]


def test_an_empty_file_is_told_since_it_would_leave_nobody_safe() -> None:
    assert [str(one.place) + " " + one.text for one in told("")] == ["etc/agent.yaml:1:1 the file is empty"]


def test_a_second_document_is_told_instead_of_forgotten() -> None:
    assert [one.text for one in told("version: 1\n---\nmode: enforce\n")] == ["a second document"]


# Files ----------------------------------------------------------------------------------------------------------------------


def test_policy_files_are_found_below_directories_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "deep/a.yml", "notes.txt", "one.yaml"):
        (tmp_path / name).write_text(f"policy: {name}\n")
    (tmp_path / "b.test.yaml").write_text("policies: [b.yaml]\ntests: []\n")

    found = find([tmp_path, tmp_path / "one.yaml"])

    assert [Path(name).name for name in found] == ["b.yaml", "a.yml", "one.yaml"]


def test_bytes_that_are_no_utf8_are_left_for_the_reader_to_point_at(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"title: caf\xe9\n")

    (text,) = find([tmp_path]).values()

    assert text == "title: caf\udce9\n"


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotReach, match=r"cannot read .*/none: No such file or directory; see `policies:` in agent.yaml"):
        find([tmp_path / "none"])


def test_the_password_comes_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("it's secret\n")
    secret.chmod(0o600)

    parts = connection("main", PostgresKeys(host="db", user="agent", database="postgres", password_file=secret))
    url = connection("main", PostgresKeys(dsn="postgresql://agent@db/postgres", password_file=secret))

    assert parts == r"host=db user=agent dbname=postgres password='it\'s secret'"
    assert r"password='it\'s secret'" in url


def test_a_password_that_everybody_can_read_is_not_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)

    with pytest.raises(CannotReach, match=r"everybody can read .*; chmod o= "):
        connection("main", PostgresKeys(host="db", password_file=secret))
