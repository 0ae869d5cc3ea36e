"""Hooks: programs of this host's own that agent.yaml names, run once each time, with nothing from outside among their arguments.

Each run has a directory of its own in the state directory, and whoever makes it has the run: `mkdir` is the act that happens
once. A runner (hook_runner.py) outlives the agent and leaves the result there: in a transient unit where systemd runs this host,
else as a process that has left the agent's session. So a kill of the agent at any point neither runs a hook twice nor loses how
it ended. A run whose runner was killed, or that a reboot cut off, is never begun again by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from agent.action import Call, CannotReach, Holds, InProgress, Protected, System, call, slow
from agent.schema import rough
from agent.systems import hook_runner
from agent.systems.system_bus import SYSTEM_BUS, Refused, open_bus

KEPT: Final = 20
"""Runs of one hook that are kept."""
BEGINS: Final = 20.0
"""Seconds in which a runner must have begun; after that it is too late for it, and it finds a result there."""
QUICK: Final = 1.5
"""Seconds that are waited for a hook before it counts as under way."""
LOOK_FIRST: Final = 600.0
"""Seconds after a run was cut off in which the hook is not run again."""
SHOWN: Final = 2000
"""Characters of the output that stand in the journal, the last ones: there the redactor sees them."""
_ORDER: Final = timedelta(seconds=5)
_MANAGER: Final = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_BOOTED: Final = Path("/run/systemd/system")


@dataclass(frozen=True)
class Hook:
    """One of agent.yaml. `verify_run` is run after it, where it has ended well, and decides then."""

    run: tuple[str, ...]
    timeout: timedelta = timedelta(minutes=5)
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    verify_run: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What a person says yes to: all of it, by its sha256."""
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def spec(self) -> dict[str, Any]:
        """What the runner reads."""
        return {**asdict(self), "env": dict(self.env), "timeout": self.timeout.total_seconds()}


class Hooks(System):
    """The hooks of agent.yaml, and their runs."""

    name = "hooks"
    rights = "the hook under `hooks:`, and root (root.conf)"

    def __init__(self, known: Mapping[str, Hook], place: Path, bus: str = SYSTEM_BUS, booted: Path = _BOOTED) -> None:
        """`place` is the directory of the runs; `booted` is there where systemd is PID 1."""
        self._known, self._place, self._bus, self._booted = known, place, bus, booted

    # Asked by plans -------------------------------------------------------------------------------------------------------

    def hook(self, name: str) -> Hook:
        """A hook that can be run now.

        Raises:
            CannotReach: there is none of this name, or its program is not there.
            Protected: others could change its program, it is running, or its last run was cut off a moment ago.
        """
        one = self._hook(name)
        for command in (one.run, one.verify_run):
            if command:
                _refuse_open(name, Path(command[0]), one.user)
        if one.user and os.geteuid() != 0:
            raise CannotReach(
                f"cannot run the hook {name} as {one.user}: the agent is not root; leave `user` out, or run it as root"
            )
        self._refuse_cut_off(name)
        return one

    def next_run(self, name: str) -> int:
        """The number of its next run."""
        return max(self._runs(name), default=0) + 1

    def _hook(self, name: str) -> Hook:
        if name not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            raise CannotReach(f"cannot run the hook {name}: agent.yaml has no such hook; it has {known}")
        return self._known[name]

    def _runs(self, name: str) -> list[int]:
        try:
            return sorted(int(one.name) for one in (self._place / name).iterdir() if one.name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CannotReach(f"cannot see the runs of the hook {name}: {error.strerror}: {self._place / name}") from error

    def _refuse_cut_off(self, name: str) -> None:
        runs = self._runs(name)
        if not runs:
            return
        at = self._place / name / str(runs[-1])
        try:
            result = _result(name, at)
        except InProgress as error:
            raise Protected(f"cannot run the hook {name}: it is running already (run {runs[-1]})") from error
        ago = time.time() - result["ended"]
        if result.get("cut_off") and ago < LOOK_FIRST:
            since = rough(timedelta(seconds=max(1.0, ago)))
            why = "what it had done by then is not known, a person has to look"
            raise Protected(f"cannot run the hook {name}: its run {runs[-1]} was cut off, found {since} ago; {why}")

    # Done -----------------------------------------------------------------------------------------------------------------

    @call
    @slow(10)
    def run(self, hook: str, number: int, digest: str) -> None:
        """Begin this run of a hook, unless it was begun before, and wait a moment for its end."""
        one = self._hook(hook)
        if one.digest != digest:
            raise CannotReach(f"cannot run the hook {hook}: agent.yaml says something else of it than when this was planned")
        at = self._place / hook / str(number)
        if not at.exists():
            others = [each for each in self._runs(hook) if each >= number - 1]
            if any(_lock_held(self._place / hook / str(each)) for each in others):
                raise Protected(f"cannot run the hook {hook}: it is running already")
        if self._claim(hook, at, one):
            self._begin(hook, number, at, one)
        until = time.monotonic() + QUICK
        while time.monotonic() < until and not (at / "result.json").exists():
            time.sleep(0.02)

    @call
    def ran(self, hook: str, number: int) -> bool | Holds:
        """Whether that run has ended well; its last words stand in the answer."""
        at = self._place / hook / str(number)
        if not at.exists():
            return False
        return _judged(hook, number, _result(hook, at))

    def _claim(self, hook: str, at: Path, one: Hook) -> bool:
        """Make the directory, with all that the runner needs in it; False where it was made before."""
        try:
            at.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix="new-", dir=at.parent))
            spec = fresh / "spec.json"
            spec.touch(mode=0o600)
            spec.write_text(json.dumps(one.spec), encoding="utf-8")
            (fresh / "lock").touch(mode=0o600)
            try:
                fresh.rename(at)
            except OSError:
                shutil.rmtree(fresh, ignore_errors=True)
                if not at.exists():
                    raise
                return False  # it is there, and not empty: somebody has begun it
            _to_disk(at.parent)
            for old in self._runs(hook)[:-KEPT]:
                shutil.rmtree(at.with_name(str(old)), ignore_errors=True)
        except OSError as error:
            raise CannotReach(f"cannot run the hook {hook}: {error.strerror}: {error.filename}") from error
        return True

    def _begin(self, hook: str, number: int, at: Path, one: Hook) -> None:
        command = [sys.executable, "-I", str(Path(hook_runner.__file__)), str(at)]
        if self._booted.is_dir():
            self._as_unit(hook, number, command, one)
            return
        try:
            subprocess.run(
                [*command, "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},
                cwd="/",
                timeout=5,
                check=True,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotReach(f"cannot run the hook {hook}: {error}") from error

    def _as_unit(self, hook: str, number: int, command: list[str], one: Hook) -> None:
        """systemd.service(5). The runner keeps the time; RuntimeMaxSec= is for a runner that hangs."""
        times = 2 if one.verify_run else 1
        longest = int((one.timeout.total_seconds() * times + BEGINS) * 1_000_000)
        properties = [
            ("Description", ("s", f"Hook {hook} of the containment agent, run {number}")),
            ("Type", ("s", "exec")),
            ("ExecStart", ("a(sasb)", [(command[0], command, False)])),
            ("KillMode", ("s", "control-group")),
            ("TimeoutStopUSec", ("t", 5_000_000)),
            ("RuntimeMaxUSec", ("t", longest)),
            ("CollectMode", ("s", "inactive-or-failed")),
            ("StandardOutput", ("s", "null")),
            ("StandardError", ("s", "null")),
        ]
        path, interface = _MANAGER
        with open_bus(self._bus, "org.freedesktop.systemd1", f"run the hook {hook}", _ORDER) as bus:
            try:
                bus.ask(path, f"{interface}.StartTransientUnit", "ssa(sv)a(sa(sv))", _unit(hook, number), "fail", properties, [])
            except Refused as error:
                if error.kind != "UnitExists":
                    raise

    def native(self, one: Call) -> str:
        """The program with its arguments, as a shell would be given it."""
        if one.verb != "run":
            return f"cat {shlex.quote(str(self._place / one.args['hook'] / str(one.args['number']) / 'result.json'))}"
        hook = self._hook(one.args["hook"])
        told = "run once by a runner of its own, for at most " + rough(hook.timeout)
        who = f"runuser -u {shlex.quote(hook.user)} -- " if hook.user else ""
        env = "".join(f"{name}=… " for name in hook.env)
        lines = [f"{who}env -i {env}{shlex.join(hook.run)}    # {told}"]
        return "\n".join([*lines, *([f"{who}env -i {env}{shlex.join(hook.verify_run)}"] if hook.verify_run else [])])


def _unit(hook: str, number: int) -> str:
    return f"containment-hook-{hook}-{number}.service"


def _refuse_open(name: str, program: Path, user: str) -> None:
    """A program that others may write to would let them run anything as the agent."""
    try:
        whole = program.resolve(strict=True)
        facts = whole.stat()
        trusted = {0, os.geteuid(), *((pwd.getpwnam(user).pw_uid,) if user else ())}
        open_to = next((one for one in (whole, *whole.parents) if _open_to_others(one.stat(), trusted)), None)
    except KeyError as error:
        raise CannotReach(f"cannot run the hook {name}: this host has no user {user}") from error
    except OSError as error:
        raise CannotReach(f"cannot run the hook {name}: {program}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode) or not facts.st_mode & 0o111:
        raise CannotReach(f"cannot run the hook {name}: {program} is no program; chmod +x {program}")
    if open_to:
        raise Protected(f"cannot run the hook {name}: others may change {open_to}; chown root {open_to}; chmod go-w {open_to}")


def _open_to_others(facts: os.stat_result, trusted: Collection[int]) -> bool:
    sticky = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
    return facts.st_uid not in trusted or bool(facts.st_mode & 0o022 and not sticky)


def _to_disk(folder: Path) -> None:
    """A run that a power failure forgot would be begun again."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock_held(at: Path) -> bool:
    try:
        with (at / "lock").open("r+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _result(hook: str, at: Path) -> dict[str, Any]:
    """How a run ended.

    Raises:
        InProgress: it has not.
        CannotReach: its directory cannot be read.
    """
    try:
        with (at / "lock").open("r+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if (at / "result.json").exists():
                    return _read(at)
                raise InProgress(f"the hook {hook} is running") from None
            if (at / "result.json").exists():
                return _read(at)
            age = time.time() - (at / "lock").stat().st_mtime
            if (at / "spec.json").exists() and 0 <= age < BEGINS:
                raise InProgress(f"the hook {hook} is about to begin")
            begun = not (at / "spec.json").exists()
            cut: dict[str, Any] = {"cut_off": True, "begun": begun, "ended": time.time(), "output": ""}
            hook_runner.write(at, cut)  # while the lock is held: whoever comes late finds it
            return cut
    except OSError as error:
        raise CannotReach(f"cannot see how the hook {hook} ended: {error.strerror}: {at}") from error


def _read(at: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((at / "result.json").read_text(encoding="utf-8"))
    return found


def _judged(hook: str, number: int, result: Mapping[str, Any]) -> Holds:
    what = f"run {number} of the hook {hook}"
    if result.get("cut_off"):
        how = (
            "its runner was killed, or the host went down: what it had done by then is not known"
            if result["begun"]
            else "it never began"
        )
        return Holds("no", f"{what} was cut off: {how}")
    said = f"; it said: {_line(result['output'])}" if result["output"].strip() else "; it said nothing"
    lasted = rough(timedelta(seconds=max(0.001, result["ended"] - result["began"])))
    if result["timed_out"]:
        return Holds("no", f"{what} took too long and was killed after {lasted}{said}")
    if result["exit"] != 0:
        return Holds("no", f"{what} ended with {_status(result['exit'])} after {lasted}{said}")
    if result.get("verify_exit", 0) != 0:
        return Holds("no", f"{what} ended well, and its verify_run with {_status(result['verify_exit'])}{said}")
    return Holds("yes", f"{what} ended well after {lasted}{said}")


def _status(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _line(output: str) -> str:
    """The last words, on one line."""
    words = " | ".join(one.strip() for one in output.splitlines() if one.strip())
    return words if len(words) <= SHOWN else f"… {words[-SHOWN:]}"
