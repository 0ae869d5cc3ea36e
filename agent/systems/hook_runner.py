"""Runs one hook to its end and writes down how it ended: a program of its own, which outlives the agent. Python's library only.

    python hook_runner.py DIRECTORY [--detach]

DIRECTORY holds `spec.json`, and gets `lock` (held while this lives) and `result.json` (whole, or not there). A run that has a
result, or is going on, is not begun again. Whatever the hook leaves running is ended with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

MOST: Final = 64 * 1024
"""Bytes of output that are kept: the first and the last half of it."""
GRACE: Final = 3.0
"""Seconds between asking a hook that takes too long to end, and killing it."""
_BARE: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_LOOK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
_SUBREAPER, _DEATH_SIGNAL = 36, 1
"""prctl(2): PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG."""


def main(directory: Path, *, detach: bool) -> None:
    """Run the hook of the directory, once."""
    if detach and os.fork():
        os._exit(0)
    if detach:
        os.setsid()
    os.umask(0o077)
    lock = (directory / "lock").open("w", encoding="ascii")
    if not _locked(lock.fileno()) or (directory / "result.json").exists():
        return
    spec = json.loads((directory / "spec.json").read_text(encoding="utf-8"))
    (directory / "spec.json").unlink()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    began = time.time()
    result = _run(spec, spec["run"])
    if result["exit"] == 0 and spec["verify_run"]:
        looked = _run(spec, spec["verify_run"])
        result |= {"verify_exit": looked["exit"], "output": f"{result['output']}{looked['output']}"[-MOST:]}
        result["timed_out"] = looked["timed_out"]
    write(directory, {**result, "began": began, "ended": time.time()})


def _locked(lock: int) -> bool:
    """Whether this is the runner; whoever only asks how it ended holds the lock for a moment."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def write(directory: Path, result: dict[str, Any]) -> None:
    """Write the result so that it is there whole and for good, or not at all."""
    fresh = directory / "result.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(directory / "result.json")
    folder = os.open(directory, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _run(spec: dict[str, Any], command: list[str]) -> dict[str, Any]:
    try:
        child = _start(spec, command)
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        return {"exit": 127, "timed_out": False, "output": f"cannot run {command[0]}: {error}\n"}
    said, in_time = _listen(child, time.monotonic() + spec["timeout"])
    if not in_time:
        _signal(child.pid, signal.SIGTERM)
        more, _ = _listen(child, time.monotonic() + GRACE)
        said += more
    code = _end(child)
    return {"exit": code, "timed_out": not in_time, "output": _shown(said)}


def _start(spec: dict[str, Any], command: list[str]) -> subprocess.Popen[bytes]:
    who: dict[str, Any] = {}
    environment = _BARE | {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    if spec["user"]:
        entry = pwd.getpwnam(spec["user"])
        who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(entry.pw_name, entry.pw_gid)}
        environment = _BARE | {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    prctl = ctypes.CDLL(None).prctl
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment | spec["env"],
        cwd="/",
        umask=0o022,
        start_new_session=True,
        preexec_fn=lambda: prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509 - there is one thread here
        **who,
    )


def _listen(child: subprocess.Popen[bytes], until: float) -> tuple[bytearray, bool]:
    """What it says until it ends, at most twice MOST of it at once; and whether it ended in time.

    A grandchild that holds the pipe open cannot make us wait: its parent's end counts.
    """
    said = bytearray()
    assert child.stdout is not None  # noqa: S101 - it was asked for
    os.set_blocking(child.stdout.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            over = os.waitid(os.P_PID, child.pid, _LOOK) is not None  # not reaped: its number stays its own
            wait = 0.0 if over else min(0.05, max(0.0, until - time.monotonic()))
            if ready.get_map() and ready.select(wait):
                piece = child.stdout.read(MOST)
                if not piece:
                    ready.unregister(child.stdout)
                said += piece or b""
                del said[MOST // 2 : -(MOST // 2)]
                over = False if piece else over
            elif not ready.get_map() and not over:
                time.sleep(wait)
            if over:
                return said, True
            if time.monotonic() >= until:
                return said, False


def _end(child: subprocess.Popen[bytes]) -> int:
    """Kill its process group, and whoever has left it and has come to us since; the exit status, negative for a signal."""
    _signal(child.pid, signal.SIGKILL)
    code = child.wait()
    for _ in range(100):  # those killed leave us their own children
        left = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
        if not left:
            break
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(one), 0)
    return code


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _shown(said: bytearray) -> str:
    return said[-MOST:].decode("utf-8", "replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]), detach="--detach" in sys.argv[2:])
