"""Hooks are run once, whoever dies meanwhile; nothing of the agent goes into them, and their end decides."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from actions.run_hook import RunHook
from agent import execute
from agent.action import Call, CannotReach, Holds, InProgress, Protected, System
from agent.systems import hooks as module
from agent.systems.hooks import Hook, Hooks
from tests.contract import OnceContract
from tests.systemd_box import Box

Make = Callable[..., Hooks]
NOWHERE = Path("/nonexistent")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("echo hello", timeout=…)`: hooks with one called `mend`, which a shell script is."""

    def made(script: str, verify: str = "", **more: object) -> Hooks:
        for name, text in (("mend", script), ("look", verify)):
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
            program.chmod(0o755)
        looks = (str(tmp_path / "look"),) if verify else ()
        hook = Hook((str(tmp_path / "mend"), "shop"), verify_run=looks, **more)  # type: ignore[arg-type]
        return Hooks({"mend": hook}, tmp_path / "hooks", booted=NOWHERE)

    return made


def run(hooks: Hooks) -> tuple[str, str]:
    """Plan and apply; what came of it."""
    plan = RunHook("mend").plan(hooks)
    ((outcome,),) = execute.apply([[("M-1", plan[0])]], {"hooks": hooks})
    return outcome.result, outcome.error


def end_of(hooks: Hooks, number: int = 1, within: float = 10.0) -> bool | Holds:
    """How a run ended, once it has."""
    until = time.monotonic() + within
    while True:
        (answer,) = hooks.perform([hooks.ran(hook="mend", number=number)])
        if not isinstance(answer.error, InProgress):
            assert answer.error is None
            held: bool | Holds = answer.value
            return held
        assert time.monotonic() < until, answer.error
        time.sleep(0.02)


def wait_for(path: Path, within: float = 5.0) -> str:
    until = time.monotonic() + within
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until, path
        time.sleep(0.01)
    return path.read_text()


class TestRunAHook(OnceContract):
    action = RunHook(hook="mend")

    @pytest.fixture
    def hooks(self, make: Make) -> Hooks:
        return make("echo once >> ran")

    def world(self, systems: Mapping[str, System]) -> object:
        place = systems["hooks"]._place  # type: ignore[attr-defined]
        ran = place.parent / "ran"
        return (ran.read_text() if ran.exists() else "", sorted(str(one) for one in place.rglob("result.json")))


# How it ends --------------------------------------------------------------------------------------------------------------


def test_what_it_said_last_is_kept_beside_its_end(make: Make) -> None:
    assert run(make("echo one; echo two >&2")) == (
        "in_force",
        _like("run 1 of the hook mend ended well after ", "it said: one | two"),
    )


class _like(str):  # noqa: N801 - a comparison
    """Text that begins and ends so."""

    __slots__ = ("last",)

    def __new__(cls, first: str, last: str) -> _like:
        made = super().__new__(cls, first)
        made.last = last  # type: ignore[attr-defined]
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(str(self)) and other.endswith(self.last)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return super().__hash__()


@pytest.mark.parametrize(
    ("script", "why"),
    [("echo broken; exit 3", "ended with exit status 3"), ("kill -9 $$", "signal 9"), ("exec /nonexistent", "exit status 127")],
)
def test_its_exit_status_decides(make: Make, script: str, why: str) -> None:
    result, error = run(make(script))

    assert result == "not_verified"
    assert why in error


def test_what_ends_well_and_is_not_well_has_not_worked(make: Make) -> None:
    result, error = run(make("echo rolled back", verify="echo still the old one; exit 1"))

    assert result == "not_verified"
    assert "ended well, and its verify_run with exit status 1" in error
    assert "rolled back | still the old one" in error


def test_what_takes_too_long_is_killed_with_all_it_started_even_what_has_left_its_group(make: Make, tmp_path: Path) -> None:
    hooks = make("setsid sleep 1000 & echo $! > away; sleep 1000 & echo $! > near; wait", timeout=timedelta(seconds=1))
    run(hooks)

    held = end_of(hooks)

    assert isinstance(held, Holds)
    assert "took too long and was killed" in held.say
    assert [_alive(int((tmp_path / name).read_text())) for name in ("away", "near")] == [False, False]


def test_what_it_leaves_running_neither_holds_it_up_nor_lives_on(make: Make, tmp_path: Path) -> None:
    result, _ = run(make("sleep 1000 & echo $! > left"))

    assert result == "in_force"
    assert not _alive(int((tmp_path / "left").read_text()))


def test_a_flood_of_words_is_cut(make: Make, tmp_path: Path) -> None:
    result, said = run(make("echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end"))

    assert (result, said[-7:]) == ("in_force", "the end")
    assert len(said) < module.SHOWN + 200
    assert (tmp_path / "hooks/mend/1/result.json").stat().st_size < 80_000


def test_one_that_takes_long_is_under_way_until_it_ends(make: Make, tmp_path: Path) -> None:
    hooks = make("until [ -e go ]; do sleep 0.05; done; echo gone")
    began = time.monotonic()

    result, say = run(hooks)
    took = time.monotonic() - began
    (tmp_path / "go").touch()

    assert (result, say) == ("under_way", "the hook mend is running")
    assert module.QUICK <= took < module.QUICK + 3
    assert end_of(hooks) == Holds("yes", _like("run 1 of the hook mend ended well", "it said: gone"))


# Once ---------------------------------------------------------------------------------------------------------------------


def test_two_at_once_share_a_run_and_the_next_one_waits_for_its_end(make: Make, tmp_path: Path) -> None:
    hooks = make("echo once >> ran; until [ -e go ]; do sleep 0.05; done")
    first, second = RunHook("mend").plan(hooks)[0], RunHook("mend").plan(hooks)[0]
    run(hooks)

    hooks.perform([second.apply])
    with pytest.raises(Protected, match="it is running already"):
        RunHook("mend").plan(hooks)
    (later,) = hooks.perform([hooks.run(hook="mend", number=2, digest=first.apply.args["digest"])])
    (tmp_path / "go").touch()
    end_of(hooks)

    assert first == second
    assert isinstance(later.error, Protected)
    assert (tmp_path / "ran").read_text() == "once\n"


AGENT = """
import sys
from pathlib import Path
from agent.systems.hooks import Hook, Hooks
hooks = Hooks({"mend": Hook((sys.argv[1], "shop"))}, Path(sys.argv[2]), booted=Path("/nonexistent"))
hooks.perform([hooks.run(hook="mend", number=1, digest=Hook((sys.argv[1], "shop")).digest)])
"""


def test_a_kill_of_the_agent_and_its_whole_group_neither_ends_it_nor_loses_its_end(make: Make, tmp_path: Path) -> None:
    hooks = make("echo once >> ran; until [ -e go ]; do sleep 0.05; done; echo $((6 * 7))")
    words = [sys.executable, "-c", AGENT, str(tmp_path / "mend"), str(tmp_path / "hooks")]
    agent = subprocess.Popen(words, start_new_session=True)
    wait_for(tmp_path / "ran")
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait(5)

    (again,) = hooks.perform([_first(hooks)])
    (tmp_path / "go").touch()
    held = end_of(hooks)

    assert again.error is None
    assert held == Holds("yes", _like("run 1 of the hook mend ended well", "it said: 42"))
    assert (tmp_path / "ran").read_text() == "once\n"


def _first(hooks: Hooks) -> Call:
    return hooks.run(hook="mend", number=1, digest=hooks._known["mend"].digest)


def test_a_run_whose_runner_was_killed_is_cut_off_and_never_begun_again_by_itself(make: Make, tmp_path: Path) -> None:
    hooks = make("echo $PPID > runner; echo once >> ran; exec sleep 1000")
    hooks.perform([_first(hooks)])
    os.kill(int(wait_for(tmp_path / "runner")), signal.SIGKILL)

    held = end_of(hooks)
    hooks.perform([_first(hooks)])

    assert isinstance(held, Holds)
    assert "cut off: its runner was killed, or the host went down" in held.say
    assert end_of(hooks) == held
    assert (tmp_path / "ran").read_text() == "once\n"
    with pytest.raises(Protected, match="its run 1 was cut off"):
        RunHook("mend").plan(hooks)


def test_a_crash_right_after_the_claim_ends_as_never_begun_and_a_late_runner_does_nothing(make: Make, tmp_path: Path) -> None:
    hooks = make("echo once >> ran")
    at = tmp_path / "hooks/mend/1"
    assert hooks._claim("mend", at, hooks._known["mend"])
    os.utime(at / "lock", (0, 0))

    held = end_of(hooks)
    subprocess.run(
        [sys.executable, "-I", str(Path(module.__file__).with_name("hook_runner.py")), str(at)], check=True, timeout=10
    )

    assert held == Holds("no", "run 1 of the hook mend was cut off: it never began")
    assert not (tmp_path / "ran").exists()


def test_what_was_planned_is_what_is_run_or_nothing(make: Make, tmp_path: Path) -> None:
    plan = RunHook("mend").plan(make("echo once >> ran"))
    changed = make("echo once >> ran", user="nobody")

    (answer,) = changed.perform([plan[0].apply])

    assert "agent.yaml says something else of it" in str(answer.error)
    assert not (tmp_path / "ran").exists()


def test_only_the_last_runs_are_kept_and_numbers_are_not_given_twice(make: Make, tmp_path: Path) -> None:
    hooks = make("true")
    for number in range(1, 25):
        (tmp_path / f"hooks/mend/{number}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"hooks/mend/{number}/lock").touch()
        (tmp_path / f"hooks/mend/{number}/result.json").write_text(json.dumps({"exit": 0, "began": 0, "ended": 1, "output": ""}))

    run(hooks)

    assert sorted(int(one.name) for one in (tmp_path / "hooks/mend").iterdir()) == list(range(6, 26))


# What goes in -------------------------------------------------------------------------------------------------------------


def test_it_inherits_neither_the_agents_variables_nor_its_files_nor_its_input(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_TOKEN_OF_TESTS", "hunter2")
    secret = (tmp_path / "secret").open("w+")
    os.set_inheritable(secret.fileno(), True)
    hooks = make("env > env; ls -l /proc/self/fd > fds; cat > input; pwd > where; echo $1 > said", env={"RELEASE": "7 $(id)"})

    run(hooks)

    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LANG", "HOME", "USER", "LOGNAME", "RELEASE", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "RELEASE=7 $(id)" in (tmp_path / "env").read_text()
    assert "secret" not in (tmp_path / "fds").read_text()
    assert "lock" not in (tmp_path / "fds").read_text()
    assert (tmp_path / "input").read_text() == ""
    assert (tmp_path / "said").read_text() == "shop\n"
    secret.close()


def test_it_runs_as_the_user_that_is_named_without_the_agents_groups(make: Make, tmp_path: Path) -> None:
    hooks = make("id -un; id -Gn", user="nobody")
    for one in (tmp_path, *tmp_path.parents):
        if str(one).startswith("/tmp/"):
            one.chmod(0o755)

    assert run(hooks) == ("in_force", _like("run 1", "it said: nobody | nogroup"))


@pytest.mark.parametrize(
    ("mode", "why"),
    [(0o777, "others may change"), (0o775, "others may change"), (0o644, "is no program"), (None, "No such file")],
)
def test_a_program_that_others_may_change_or_that_is_none_is_not_run(
    make: Make, tmp_path: Path, mode: int | None, why: str
) -> None:
    hooks = make("true")
    (tmp_path / "mend").chmod(mode) if mode else (tmp_path / "mend").unlink()

    with pytest.raises(CannotReach, match=why):
        RunHook("mend").plan(hooks)


def test_a_hook_that_nobody_wrote_down_is_named_with_those_there_are(make: Make) -> None:
    with pytest.raises(CannotReach, match=r"agent\.yaml has no such hook; it has mend"):
        RunHook("rm -rf /").plan(make("true"))


# Under systemd ------------------------------------------------------------------------------------------------------------

INSIDE = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from agent import execute
from actions.run_hook import RunHook
from agent.systems.hooks import Hook, Hooks
hooks = Hooks({"mend": Hook(("/usr/local/sbin/mend",), timeout=timedelta(seconds=int(sys.argv[2])))}, Path("/var/lib/hooks"))
plan = RunHook("mend").plan(hooks)
((outcome,),) = execute.apply([[("M-1", plan[0])]], {"hooks": hooks})
while outcome.result == "under_way":
    time.sleep(0.1)
    ((held,),) = [execute.verify([("M-1", plan[0])], {"hooks": hooks})]
    if held.holds is not None:
        print(held.holds, held.say)
        sys.exit()
print(outcome.result, outcome.error)
"""


@pytest.fixture(scope="module")
def box(make_box: type[Box]) -> object:
    box = make_box({"/usr/local/sbin/mend": "#!/bin/sh\ncat /proc/self/cgroup; if [ -e /slow ]; then setsid sleep 1000; fi\n"})
    (box.root / "usr/local/sbin/mend").chmod(0o755)
    box.boot()
    yield box
    box.close()


def test_where_systemd_runs_it_is_a_unit_of_its_own_outside_the_agents(box: Box) -> None:
    said = box.run(sys.executable, "-c", INSIDE, str(Path(__file__).parents[2]), "60")

    assert said.startswith("in_force run 1 of the hook mend ended well")
    assert "containment-hook-mend-1.service" in said
    assert "mend-1" not in box.run("systemctl", "list-units", "--all", "--plain", "containment-hook-*")


def test_there_too_it_is_killed_in_time_with_what_left_its_group(box: Box) -> None:
    box.run("touch", "/slow")

    said = box.run(sys.executable, "-c", INSIDE, str(Path(__file__).parents[2]), "1")

    assert "took too long and was killed" in said
    assert box.run("pgrep", "-x", "sleep", check=False) == ""


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
