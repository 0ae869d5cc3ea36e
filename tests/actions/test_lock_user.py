"""Locking people's accounts: what every action promises, and what really ends and what really cannot come in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actions.lock_user import LockUser
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.schema import Ttl
from agent.systems.accounts import Accounts
from tests.contract import ActionContract, OnceContract, Systems
from tests.people import UID, People

HOUR = Ttl(timedelta(hours=1))


def plan(accounts: Accounts, user: str = "alice") -> list[Change]:
    return LockUser(user=user, ttl=HOUR).plan(accounts)


def apply(accounts: Accounts, changes: list[Change]) -> list[tuple[str, str]]:
    (outcomes,) = execute.apply([[(f"M-{at}", one) for at, one in enumerate(changes)]], {"accounts": accounts})
    return [(one.result, one[2]) for one in outcomes]


def undo(accounts: Accounts, change: Change) -> tuple[str, str]:
    (release,) = execute.undo([("M", change)], {"accounts": accounts})
    return release.result, release.say


class TestLockAnAccount(ActionContract):
    action = LockUser(user="alice", ttl=HOUR, end_sessions=False)

    @pytest.fixture(autouse=True)
    def _world(self, people: People) -> None:
        self.people = people

    def world(self, systems: Systems) -> object:
        return self.people.run("cat", "/etc/shadow", "/etc/passwd", "/etc/group")


class TestEndTheSessionsOfALockedAccount(OnceContract):
    action = LockUser(user="alice", ttl=HOUR)

    @pytest.fixture
    def systems(self, people: People, accounts: Accounts) -> Systems:
        people.run("usermod", "-e", "1", "-L", "alice")
        people.run("systemd-run", "--uid=alice", "sleep", "infinity")
        self.people = people
        return {"accounts": accounts}

    def world(self, systems: Systems) -> object:
        return self.people.processes(), self.people.shadow()


def test_a_key_opens_the_door_before_not_while_locked_and_again_afterwards(people: People, accounts: Accounts) -> None:
    changes = plan(accounts)
    seen = [people.logs_in()]

    applied = apply(accounts, changes)
    seen.append(people.logs_in())
    lifted = undo(accounts, changes[0])

    assert applied == [("in_force", "")] * 2
    assert lifted == ("lifted", "")
    assert [*seen, people.logs_in()] == [True, False, True]


def test_a_session_ends_with_everything_in_it(people: People, accounts: Accounts) -> None:
    with people.session("trap '' TERM HUP; sudo sleep 301 & setsid sleep 302 & sleep 303") as session:
        changes = plan(accounts)

        applied = apply(accounts, changes)

        assert applied == [("in_force", "")] * 2
        assert session.wait(5) != 0
    assert people.processes() == []
    assert "sleep 30" not in people.run("ps", "-eo", "args=")


def test_what_logind_knows_nothing_of_is_ended_too(people: People, accounts: Accounts) -> None:
    people.run("systemd-run", "--uid=alice", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    changes = plan(accounts)

    applied = apply(accounts, changes)

    assert changes[1].describe.startswith("end the sessions and processes of alice (")
    assert (applied, people.processes()) == ([("in_force", "")] * 2, [])


def test_a_namespace_of_her_own_hides_nobody(people: People, accounts: Accounts) -> None:
    hide = "unshare --user --map-root-user --pid --fork sleep 304"
    people.run("systemd-run", "--unit=hidden", "--uid=alice", "sh", "-c", f"{hide} & sleep 305")
    people.wait_for("sleep 304")

    applied = apply(accounts, plan(accounts))

    assert applied == [("in_force", "")] * 2
    assert "sleep 304" not in people.run("ps", "-eo", "args=")


@pytest.mark.parametrize("name", [r"\377", r"a\013b"])
def test_a_cgroup_with_a_strange_name_hides_nobody(people: People, accounts: Accounts, name: str) -> None:
    made = f"mkdir `printf '{name}'` && echo 0 > `printf '{name}'`/cgroup.procs"
    hide = f"cd /sys/fs/cgroup/system.slice/strange.service && {made} && exec sleep 307"
    people.run("systemd-run", "--unit=strange", "--uid=alice", "-p", "Delegate=yes", "sh", "-c", hide)
    people.wait_for("sleep 307")

    applied = apply(accounts, plan(accounts))

    assert applied == [("in_force", "")] * 2
    assert "sleep 307" not in people.run("ps", "-eo", "args=")


def test_a_container_of_root_with_the_same_number_lives_on(people: People, accounts: Accounts) -> None:
    inside = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "sleep", "306"]
    people.run("systemd-run", "--unit=container", "unshare", "--pid", "--fork", "--mount-proc", *inside)
    people.wait_for("sleep 306")
    try:
        applied = apply(accounts, plan(accounts))

        assert applied == [("in_force", "")] * 2
        assert "sleep 306" in people.run("ps", "-eo", "args=")
    finally:
        people.run("systemctl", "kill", "-s", "KILL", "container.service")


def test_a_date_that_was_set_before_comes_back(people: People, accounts: Accounts) -> None:
    people.run("usermod", "-e", "2031-05-06", "alice")
    before = people.shadow()
    changes = plan(accounts)

    apply(accounts, changes)
    lifted = undo(accounts, changes[0])

    assert (lifted, people.shadow()) == (("lifted", ""), before)


@pytest.mark.parametrize("held", ["", "!", "*", "!$6$salt$hash"])
def test_a_password_that_is_none_or_barred_already_stays_as_it_is(people: People, accounts: Accounts, held: str) -> None:
    people.run("usermod", "-p", held, "alice")
    before = people.shadow()
    changes = plan(accounts)

    applied = apply(accounts, changes)
    lifted = undo(accounts, changes[0])

    assert applied[0] == ("in_force", "")
    assert (lifted, people.shadow()) == (("lifted", ""), before)


def test_a_date_that_somebody_sets_meanwhile_is_left_alone_and_told(people: People, accounts: Accounts) -> None:
    changes = plan(accounts)
    apply(accounts, changes)
    people.run("usermod", "-e", "2031-05-06", "-U", "alice")

    result = undo(accounts, changes[0])

    assert result == ("gone", "somebody else has set the expiry date of alice to day 22405")
    assert people.shadow().split(":")[7] == "22405"


def test_a_password_that_somebody_unbars_is_a_part_that_is_barred_again(people: People, accounts: Accounts) -> None:
    changes = plan(accounts)
    apply(accounts, changes)
    people.run("usermod", "-U", "alice")
    (held,) = execute.verify([("M", changes[0])], {"accounts": accounts})

    healed = apply(accounts, changes[:1])

    assert (held.holds, held.say) == ("partly", "alice is expired, and the password is not barred any more")
    assert healed == [("in_force", "")]


def test_an_account_that_is_gone_by_then_is_told_and_over(people: People, accounts: Accounts) -> None:
    people.run("useradd", "bob")
    changes = plan(accounts, "bob")
    apply(accounts, changes)
    people.run("userdel", "bob")

    lifted = undo(accounts, changes[0])

    assert lifted == ("gone", "the account bob is gone: this host has none of that name any more")


def test_what_another_writes_about_themselves_moves_nobody_in_the_password_file(people: People, accounts: Accounts) -> None:
    people.run("useradd", "--comment", "Eve\u2028bob", "eve")
    people.run("useradd", "bob")
    try:
        account = accounts.account("bob", "lock bob")

        assert (account.name, account.lockable) == ("bob", False)
    finally:
        people.run("sh", "-c", "userdel bob; userdel eve")


def test_no_hash_is_written_down_and_the_evidence_says_who_was_in(people: People, accounts: Accounts) -> None:
    with people.session("sleep 307"):
        changes = plan(accounts)

        (seen,) = accounts.perform(changes[0].capture)

    assert "$6$" not in str(changes)
    assert [(one["Service"], one["RemoteHost"]) for one in seen.value["sessions"]] == [("sshd", "127.0.0.1")]
    assert "sleep 307" in [one.get("command") for one in seen.value["processes"]]


def test_the_last_administrator_is_told_in_the_plan(people: People, accounts: Accounts) -> None:
    people.run("usermod", "-aG", "sudo", "alice")
    try:
        said = plan(accounts)[0].describe
    finally:
        people.run("gpasswd", "-d", "alice", "sudo")

    assert said == "lock the account alice for 1h; beware: nobody else is in the group sudo"


def test_who_carries_the_host_is_never_locked_neither_planned_nor_called(accounts: Accounts) -> None:
    for user, why in (("root", "root is root"), ("daemon", r"\(uid 1\) belongs to the system"), ("nobody", "to the system")):
        answers = accounts.perform([accounts.lock(user=user, bar=True), accounts.end_sessions(user=user, uid=0)])

        assert all(isinstance(one.error, Protected) for one in answers)
        with pytest.raises(Protected, match=why):
            plan(accounts, user)


def test_who_has_no_account_here_is_refused_with_a_reason(accounts: Accounts) -> None:
    for user in ("-x", "", "a;b", "alice\n", "alice:x", "4711", "nobody-here"):
        with pytest.raises(CannotReach, match=r"no account is called|it is not in /etc/passwd; lock it where it is kept"):
            plan(accounts, user)


def test_the_dry_run_is_what_a_person_would_type(accounts: Accounts) -> None:
    lock, end = plan(accounts)

    assert lock.undo
    assert [accounts.native(one) for one in (lock.apply, lock.undo)] == [
        "usermod --expiredate 1 --lock alice",
        "usermod --expiredate '' --unlock alice",
    ]
    assert accounts.native(end.apply).startswith("loginctl terminate-user alice\n")
