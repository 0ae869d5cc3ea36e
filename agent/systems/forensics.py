"""This host's volatile evidence: what would be gone after the act, read quickly and changing nothing."""

from __future__ import annotations

from typing import Any, Final

from agent.action import Call, CannotReach, System, call
from agent.systems import processes, sockets, traces
from agent.systems.bounded import Looks, read

_NATIVE: Final = {
    "sockets": "read /proc/[pid]/net/{tcp,udp,raw,packet} of each network namespace, /proc/[pid]/fd",
    "processes": "read /proc/[pid]/{stat,status,cgroup,exe,cwd,cmdline,fd}, hash what runs",
    "routes": "; ".join(" ".join(one) for one in traces.ROUTES.values()),
    "logins": "read /run/systemd/sessions, /run/utmp, /var/log/wtmp",
    "ruleset": " ".join(traces.RULESET),
    "kernel": "read /proc/modules, /proc/self/mountinfo, /proc/sys/kernel",
    "persistence": "stat and hash crontabs, unit files, authorized_keys, sudoers, ld.so.preload and the like",
    "look": "nothing is called: to look is all",
    "can_look": "read /proc/self/stat",
}


class Forensics(System):
    """What a responder wants to know of a host before it is touched. Only reads; each verb ends within some 2 s.

    Every answer has `taken` (Unix seconds) and `left_out`, sentences about what is not in it. Environments of processes and
    contents of files are never read; words of command lines that look like secrets are the store's to redact.
    """

    name = "forensics"
    rights = "nothing; with evidence.conf it also sees what other users' processes have open"

    def __init__(self) -> None:
        self._looks = Looks()

    @call
    def sockets(self) -> dict[str, Any]:
        """Every TCP, UDP and raw socket with its processes, also of containers."""
        return self._looks.take(sockets.sockets)

    @call
    def processes(self) -> dict[str, Any]:
        """Every process: what runs, as whom, since when, in which unit or container."""
        return self._looks.take(processes.processes)

    @call
    def routes(self) -> dict[str, Any]:
        """Neighbours, routes, routing rules and addresses."""
        return self._looks.take(traces.routes)

    @call
    def logins(self) -> dict[str, Any]:
        """Who is logged in, and the latest 200 of who was."""
        return self._looks.take(traces.logins)

    @call
    def ruleset(self) -> dict[str, Any]:
        """The whole ruleset of nftables."""
        return self._looks.take(traces.ruleset)

    @call
    def kernel(self) -> dict[str, Any]:
        """Modules, mounts and telling settings."""
        return self._looks.take(traces.kernel)

    @call
    def persistence(self) -> dict[str, Any]:
        """What starts by itself or lets somebody in again, with times and hashes."""
        return self._looks.take(traces.persistence)

    @call
    def look(self) -> None:
        """Change nothing: for an action whose captures are all it does."""

    @call
    def can_look(self) -> bool:
        """Whether this host can be read at all."""
        try:
            return bool(read("/proc/self/stat"))
        except OSError as error:
            raise CannotReach(f"cannot look at this host: /proc: {error.strerror}; is it mounted?") from error

    def native(self, one: Call) -> str:
        """What is read or run, in one line."""
        return _NATIVE[one.verb]


def everything(forensics: Forensics) -> tuple[Call, ...]:
    """All there is to see of a host, the most volatile first: for `capture=`."""
    return (
        forensics.sockets(),
        forensics.processes(),
        forensics.routes(),
        forensics.logins(),
        forensics.ruleset(),
        forensics.kernel(),
        forensics.persistence(),
    )
