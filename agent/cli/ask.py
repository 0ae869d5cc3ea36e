"""Ask the running agent over its control socket: one question, one answer, nothing heavy imported.

The socket's place comes from --socket, $CONTAIN_SOCKET or agent.yaml, of which one line is read here with a pattern, because
reading it properly takes longer than the whole answer.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agent.cli.ends import Exit, Stop

SYSTEM_CONFIG: Final = Path("/etc/containment-agent/agent.yaml")
LOCAL_CONFIG: Final = Path("var/agent.yaml")
DEFAULT_SOCKET: Final = Path("/run/containment-agent/agent.sock")
PATIENCE: Final = 35.0
"""Seconds for an answer; the agent itself gives up after 30."""
_LARGEST: Final = 64 << 20
_SOCKET: Final = re.compile(r"""^socket:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s#'"]\S*))""", re.MULTILINE)


def config_path(given: Path | None) -> Path:
    """Which agent.yaml counts: --config, $CONTAIN_CONFIG, ./var/agent.yaml where there is one of one's own, else the host's."""
    if given:
        return given
    if named := os.environ.get("CONTAIN_CONFIG"):
        return Path(named)
    return LOCAL_CONFIG if _own(LOCAL_CONFIG) else SYSTEM_CONFIG


def _own(config: Path) -> bool:
    """Whether a file and its directory are the user's, or those of who used sudo: root in /tmp does not run what others wrote."""
    ours = {os.geteuid(), int(sudo) if (sudo := os.environ.get("SUDO_UID", "")).isdecimal() else os.geteuid()}
    try:
        return all(one.lstat().st_uid in ours for one in (config.parent, config))
    except OSError:  # none is there, or it is closed to this user: `sudo -u bob contain status` in /root
        return False


def socket_path(given: Path | None, config: Path) -> Path:
    """Where the agent listens: --socket, $CONTAIN_SOCKET, the `socket:` of agent.yaml, else where a packaged agent does."""
    if given:
        return given
    if named := os.environ.get("CONTAIN_SOCKET"):
        return Path(named)
    try:
        found = _SOCKET.search(config.read_text(encoding="utf-8", errors="replace"))
    except OSError:  # somebody else's problem: whoever needs the config says it properly
        found = None
    return config.parent / (found[1] or found[2] or found[3]) if found else DEFAULT_SOCKET


def ask(place: Path, verb: str, body: Mapping[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
    """The agent's answer.

    Raises:
        Stop: UNREACHABLE where no agent answers, FAILED where it cannot answer, USAGE where it does not understand.
    """
    try:
        head, text = _exchange(place, verb, json.dumps(body).encode(), patience)
    except OSError as error:
        raise Stop(Exit.UNREACHABLE, _unreachable(place, error)) from error
    status = head.split(b" ", 2)[1:2]
    try:
        answer = json.loads(text)
    except ValueError:
        raise Stop(Exit.UNREACHABLE, f"cannot reach the agent: what answers at {place} is not this agent\n{_MEND}") from None
    if "problem" in answer:
        raise Stop(Exit.USAGE, f"cannot {verb}: {answer['problem']}")
    if status != [b"200"]:
        raise Stop(Exit.FAILED, f"cannot {verb}: {answer.get('error', 'the agent did not say why')}")
    return dict(answer)


_MEND: Final = "Start it with `contain run`, or name the right socket with --socket or the right agent.yaml with --config."


def _exchange(place: Path, verb: str, body: bytes, patience: float) -> tuple[bytes, bytes]:
    """One HTTP/1.0 request and its answer: status line and body. http.client would cost 30 ms of import."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as wire:
        wire.settimeout(patience)
        wire.connect(str(place))
        head = f"POST /v1/{verb} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.sendall(head.encode() + body)
        heard = bytearray()
        while more := wire.recv(1 << 20):
            heard += more
            if len(heard) > _LARGEST:
                raise OSError(f"its answer is longer than {_LARGEST >> 20} MiB")
    answer, _, text = bytes(heard).partition(b"\r\n\r\n")
    return answer, text


def _unreachable(place: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return f"cannot reach the agent: nothing listens at {place}\n{_MEND}"
        case ConnectionRefusedError():
            return f"cannot reach the agent: it does not run any more ({place} is left over)\n{_MEND}"
        case PermissionError():
            mend = "Run this as root, or join the group that owns the socket."
            return f"cannot reach the agent: this user may not use {place}\n{mend}"
        case TimeoutError():
            return f"cannot reach the agent: no answer at {place}; it is busy or stuck\nLook at its log, and at: contain doctor"
        case _:
            return f"cannot reach the agent at {place}: {error.strerror or error}\n{_MEND}"
