"""Keeping what a host is doing: the captures are all it does, and they reach files without secrets."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from actions.snapshot import Snapshot
from agent import execute
from agent.action import CannotReach, Change
from agent.evidence.redact import Redactor
from agent.evidence.store import Store
from agent.systems.containers import Containers
from agent.systems.forensics import Forensics
from agent.systems.postgres import Postgres
from agent.systems.postgres_evidence import PostgresEvidence
from tests.contract import OnceContract, Systems
from tests.docker_daemon import Dockerd

NOWHERE = PostgresEvidence(Postgres({})), Containers("/nonexistent")


@pytest.fixture
def forensics() -> Forensics:
    return Forensics()


@pytest.fixture
def postgres_evidence(postgres: Postgres) -> PostgresEvidence:
    return PostgresEvidence(postgres)


class TestSnapshotOfAHost(OnceContract):
    action = Snapshot()

    @pytest.fixture
    def systems(self, forensics: Forensics) -> Systems:
        return {"forensics": forensics, "postgres_evidence": NOWHERE[0], "containers": NOWHERE[1]}

    def world(self, systems: Systems) -> object:
        """The network of this test session, which nobody else changes meanwhile."""
        seen = [one.value for one in systems["forensics"].perform([Forensics().routes(), Forensics().ruleset()])]
        return [{name: part for name, part in one.items() if name != "taken"} for one in seen]

    def test_once_applied_it_is_verified_and_nothing_offers_an_undo(self, plan: list[Change], systems: Systems) -> None:
        before = self.world(systems)

        ((outcome,),) = execute.apply([[("M-1", change) for change in plan]], systems)

        assert outcome.result == "in_force"
        assert len(outcome.found) == 7
        assert not [one for one in outcome.found if "error" in one]
        assert self.world(systems) == before  # unlike other actions: all it makes is evidence
        assert plan[0].undo is None


def take(root: Path) -> tuple[Sequence[Mapping[str, Any]], str]:
    """A snapshot as the agent takes it; what the journal is told, and all that the files hold."""
    forensics = Forensics()
    store = Store(root, Redactor(b"k" * 32), keep_free=0)
    plan = Snapshot().plan(forensics, *NOWHERE)
    ((outcome,),) = execute.apply([[("M-1", change) for change in plan]], {"forensics": forensics}, store.keep)
    return outcome.found, "".join(gzip.decompress((root / one["file"]).read_bytes()).decode() for one in outcome.found)


def test_a_secret_on_a_command_line_reaches_no_file(tmp_path: Path) -> None:
    secrets = ("hunter2hunter2", "correct-horse", "CAESIJabcdefgh")
    words = [f"--password={secrets[0]}", "--token", secrets[1], f"hvs.{secrets[2]}", "marked"]
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen([*wait, *words], stdin=subprocess.PIPE) as process:
        found, text = take(tmp_path / "evidence")
        process.communicate(timeout=10)

    assert [one["file"].partition("-forensics-")[2] for one in found] == [
        f"{verb}.json.gz" for verb in ("sockets", "processes", "routes", "logins", "ruleset", "kernel", "persistence")
    ]
    assert '"marked"' in text
    assert not [one for one in secrets if one in text]


def test_without_room_for_evidence_the_act_goes_on(tmp_path: Path) -> None:
    forensics = Forensics()
    store = Store(tmp_path, Redactor(b"k" * 32), most_bytes=0)
    plan = Snapshot().plan(forensics, *NOWHERE)

    ((outcome,),) = execute.apply([[("M-1", change) for change in plan]], {"forensics": forensics}, store.keep)

    assert outcome.result == "in_force"
    assert {one["error"] for one in outcome.found} == {"left out: the evidence store holds 0 bytes, its limit is 0 bytes"}


def test_a_snapshot_of_a_server_holds_its_sessions_and_its_configuration(
    forensics: Forensics, postgres_evidence: PostgresEvidence, tmp_path: Path
) -> None:
    store = Store(tmp_path, Redactor(b"k" * 32), keep_free=0)
    plan = Snapshot(what="postgres").plan(forensics, postgres_evidence, NOWHERE[1])
    systems = {"forensics": forensics, "postgres_evidence": postgres_evidence}

    ((outcome,),) = execute.apply([[("M-1", change) for change in plan]], systems, store.keep)

    assert [one["file"].partition("-postgres_evidence-")[2] for one in outcome.found] == ["activity.json.gz", "settings.json.gz"]


def test_a_snapshot_of_a_container_holds_its_processes_and_its_log(
    forensics: Forensics, docker: Dockerd, containers: Containers, tmp_path: Path
) -> None:
    docker.run("shop")
    store = Store(tmp_path, Redactor(b"k" * 32), keep_free=0)
    plan = Snapshot(what="container", container="shop").plan(forensics, NOWHERE[0], containers)
    systems = {"forensics": forensics, "containers": containers}

    ((outcome,),) = execute.apply([[("M-1", change) for change in plan]], systems, store.keep)

    assert not [one for one in outcome.found if "error" in one]
    assert {"processes", "logs", "attributes"} <= {one["call"].split("(")[0].partition(".")[2] for one in outcome.found}


def test_a_container_is_named_only_where_one_is_meant() -> None:
    with pytest.raises(CannotReach, match="goes with"):
        Snapshot(container="shop").plan(Forensics(), *NOWHERE)


def test_the_dry_run_says_what_is_read_and_that_nothing_is_called(forensics: Forensics) -> None:
    said = execute.dry_run(Snapshot().plan(forensics, *NOWHERE), {"forensics": forensics})

    assert said[0] == "would keep what processes, sockets, routes, the ruleset and logins are now as evidence"
    assert "  capture nft -j list ruleset" in said
    assert "  apply   nothing is called: to look is all" in said
    assert said[-1] == "  undo    none: it is done once, and cannot be taken back"
