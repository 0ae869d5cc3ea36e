"""Accounts: whose processes are found, and what a host that does not answer costs."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from agent.action import CannotReach, Protected
from agent.systems import user_processes
from agent.systems.accounts import Accounts
from agent.systems.user_processes import Home
from tests.people import UID, People


def test_an_account_is_read_without_its_hash(people: People, accounts: Accounts) -> None:
    found = accounts.account("alice", "look at alice")

    assert (found.name, found.uid, found.expires, found.locked, found.lockable) == ("alice", UID, "", False, True)
    assert "$6$" not in repr(found)


def test_the_same_number_on_another_host_is_somebody_else(people: People) -> None:
    people.run("systemd-run", "--uid=alice", "sleep", "401")
    people.wait_for("sleep 401")

    here = user_processes.find(Home.of(os.getpid()), UID)
    there = user_processes.find(Home.of(people.box.pid), UID)

    assert (here, len(there)) == ([], 1)


def test_evidence_says_what_a_process_is(people: People) -> None:
    people.run("systemd-run", "--unit=seen", "--uid=alice", "--working-directory=/home/alice", "sleep", "402")
    people.wait_for("sleep 402")

    (pid,) = user_processes.find(Home.of(people.box.pid), UID)
    found = user_processes.describe(pid)

    assert (found["command"], found["name"], found["uid"], found["folder"]) == (
        "/usr/bin/sleep 402",
        "sleep",
        UID,
        "/home/alice",
    )
    assert found["program"].endswith("/sleep")
    assert found["cgroup"].endswith("/seen.service")


def test_a_process_that_has_ended_belongs_to_nobody(people: People) -> None:
    assert not user_processes.belongs(Home.of(people.box.pid), UID, 2**22 - 1)


def test_a_host_whose_first_process_is_gone_is_told() -> None:
    with pytest.raises(CannotReach, match=r"cannot look at process 4194303: No such file or directory"):
        Home.of(2**22 - 1)


def test_password_files_that_somebody_else_holds_cost_a_limit_and_change_nothing(people: People) -> None:
    accounts = Accounts(people.box.pid, patience=0.5)
    before = people.shadow()
    with (people.root / "etc/.pwd.lock").open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        started = time.monotonic()

        (answer,) = accounts.perform([accounts.lock(user="alice", bar=True)])

    assert isinstance(answer.error, CannotReach)
    assert str(answer.error).startswith("cannot lock alice: usermod: ")
    assert time.monotonic() - started < 3
    assert people.shadow() == before


def test_who_is_not_root_is_told_the_mend(people: People, accounts: Accounts) -> None:
    calls = [accounts.lock(user="alice", bar=True), accounts.sessions_ended(user="alice", uid=UID)]
    os.seteuid(65534)
    try:
        answers = accounts.perform(calls)
    finally:
        os.seteuid(0)

    assert all(isinstance(one.error, CannotReach) and "this needs root" in str(one.error) for one in answers)


def test_the_agents_own_account_is_never_locked(people: People, accounts: Accounts) -> None:
    (held,) = accounts.perform([accounts.end_sessions(user="alice", uid=os.getuid())])
    os.setresuid(UID, 0, 0)
    try:
        (own,) = accounts.perform([accounts.end_sessions(user="alice", uid=UID)])
    finally:
        os.setresuid(0, 0, 0)

    assert [type(one.error) for one in (held, own)] == [Protected, Protected]
    assert str(own.error) == "cannot end the sessions of alice: this agent runs under alice"
