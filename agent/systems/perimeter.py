"""This host as a whole: closed to everything but its openings, in a table of its own, `inet containment_host`.

The kernel holds the clock (perimeter_rules.py), so that a host that was closed by mistake opens by itself, whatever became of
the agent. The table acts in the network namespace of its process, on what this host sends, receives and forwards. It does not
see what never passes these hooks: frames written to a device by a process with CAP_NET_RAW, containers of one bridge among
themselves, and flows that somebody's rules have handed to hardware.
"""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from agent.action import Call, CannotReach, Holds, Protected, System, call, slow
from agent.kernel import nft
from agent.kernel.netlink import Refused
from agent.schema import Duration, address
from agent.systems import host as this_host
from agent.systems import perimeter_kernel, sock_diag
from agent.systems.host import Host
from agent.systems.perimeter_kernel import Seen, look
from agent.systems.perimeter_rules import REFUSED, TABLE, Opening, covers, differences, rearmed, text, tidy

__all__ = ["Opening", "Perimeter", "learnt"]

DNS: Final = (53, 853)
MOST_TEXT: Final = 256 * 1024
"""Characters of a ruleset that are kept as evidence."""
MOST_REFUSED: Final = 1000


class Perimeter(System):
    """This host's connection to the world. `opened` says what stays open; by default what `learnt` finds."""

    name = "perimeter"
    rights = "CAP_NET_ADMIN, which the service has; the package nftables"

    def __init__(
        self, opened: Callable[[], Sequence[Opening]] | None = None, ssh_ports: Sequence[int] = (22,), host: Host | None = None
    ) -> None:
        self._host, self._ssh_ports = host or Host(), tuple(ssh_ports)
        self._opened = opened or (lambda: learnt(self._host, self._ssh_ports))
        self._lock = threading.Lock()

    # What can be called ------------------------------------------------------------------------------------------------

    @call
    @slow(25)
    def close(self, openings: tuple[Opening, ...], ttl: Duration | None) -> None:
        """Close this host to everything but `openings` for `ttl` from now (None: until it is opened), in one transaction.

        Closed already, it stays closed at every moment while openings and time become these.
        """
        wanted = tidy(openings)
        if ttl is not None and ttl <= timedelta():
            raise CannotReach("cannot close this host for a time that is over")
        with self._lock:
            seen = look()
            _refuse_another(seen)
            nft.ask(["-f", "-"], text(wanted, ttl, seen.chains, fresh=not seen.ours))
            seconds, left = math.inf if ttl is None else ttl.total_seconds(), look().left
            if left != seconds and not abs(left - seconds) < 1:
                nft.ask(["-f", "-"], rearmed(ttl))

    @call
    @slow(10)
    def open_again(self) -> None:
        """Remove our table, and with it everything that was closed. Somebody else's of that name is left alone."""
        with self._lock:
            if not look().ours:
                return
            try:
                nft.ask(["delete", "table", "inet", TABLE])
            except CannotReach:
                if look().ours:  # else somebody removed it in the same moment
                    raise

    @call
    def is_closed(self, openings: tuple[Opening, ...]) -> bool | Holds:
        """Whether the kernel holds all of it: our table, each rule for these openings in its place, and the switch.

        Where all is there, a packet that must not leave is sent: the kernel itself has to refuse it.
        """
        seen = look()
        if seen.anothers:
            return Holds("no", seen.anothers)
        if not seen.ours:
            return False
        lacking = [*seen.unarmed, *differences(tidy(openings), seen.rules)] or perimeter_kernel.escapes(openings)
        return Holds("partly", "; ".join(lacking)) if lacking else True

    @call
    def refused(self) -> list[dict[str, Any]]:
        """Whom this host was kept from, and who was kept from it: address, packets and bytes, the busiest 1,000.

        `to` has protocol and port; from outside the address alone, as everybody on the internet tries every port.
        """
        found = perimeter_kernel.refusals() if look().ours else []
        return sorted(found, key=lambda one: -one["packets"])[:MOST_REFUSED]

    @call
    @slow(10)
    def ruleset(self) -> str:
        """Everybody's rules as nft lists them, without the elements of their sets, at most 256 KiB."""
        return nft.ask(["--terse", "list", "ruleset"])[:MOST_TEXT]

    # What can be asked -------------------------------------------------------------------------------------------------

    def openings(self) -> tuple[Opening, ...]:
        """What stays open at this moment.

        Raises:
            CannotReach: it cannot be learnt, or some of it cannot be opened.
        """
        return tidy(self._opened())

    def closed(self, openings: Sequence[Opening], ttl: timedelta | None) -> bool:
        """Whether the host is closed to everything but these for `ttl` more, less a twentieth (1 s to 1 min)."""
        seen = _look_if_allowed()
        if seen is None or not seen.ours or seen.dormant or differences(openings, seen.rules):
            return False
        if ttl is None:
            return seen.left == math.inf
        seconds = ttl.total_seconds()
        return seen.left >= seconds - min(60.0, max(1.0, seconds / 20))

    def preflight(self, openings: Sequence[Opening]) -> None:
        """See that people and name servers stay reachable, and that the kernel takes the rules, before anything is closed.

        Raises:
            Protected: the operators would be locked out; every reason at once, with the mend.
            CannotReach: the table is somebody else's, or nft or the kernel does not take the rules.
        """
        wrong = [
            f"{one} would be cut off; name it under keep_open in agent.yaml"
            for one in learnt(self._host, self._ssh_ports)
            if not covers(openings, one)
        ]
        if not any(one.direction == "in" and (not one.ports or {*one.ports} & {*self._ssh_ports}) for one in openings):
            ports = ", ".join(map(str, self._ssh_ports))
            wrong.append(
                f"nobody could log in to open it again: no opening lets anybody in to ssh (port {ports});"
                " log in over ssh, or name the operators' network under keep_open in agent.yaml"
            )
        if wrong:
            raise Protected(f"cannot isolate this host: {'; '.join(wrong)}")
        if seen := _look_if_allowed():
            _refuse_another(seen)
            nft.ask(["--check", "-f", "-"], text(openings, None, seen.chains))

    def native(self, one: Call) -> str:
        """The call as nft commands; the whole ruleset where it is loaded."""
        table = f"inet {TABLE}"
        if one.verb == "close":
            return f"nft -f - <<'END'\n{text(tidy(one.args['openings']), one.args['ttl'])}END"
        if one.verb == "refused":
            return "; ".join(f"nft list set {table} {name}" for name in REFUSED)
        said = {
            "open_again": f"nft delete table {table}",
            "is_closed": f"nft list table {table}",
            "ruleset": "nft --terse list ruleset",
        }
        return said.get(one.verb) or str(one)


def _look_if_allowed() -> Seen | None:
    """The table, or None for a dry run without the right to read: it is planned as if nothing were there."""
    try:
        return look()
    except Refused as error:
        if error.code == errno.EPERM:
            return None
        raise


def _refuse_another(seen: Seen) -> None:
    if seen.anothers:
        raise CannotReach(f"cannot close this host: {seen.anothers}; rename it, or remove it: nft delete table inet {TABLE}")


# What this host needs ---------------------------------------------------------------------------------------------------


def learnt(host: Host, ssh_ports: Sequence[int] = (22,)) -> list[Opening]:
    """What this host itself knows that it needs: ssh for those who are logged in, and its name servers.

    Raises:
        CannotReach: the host does not say.
    """
    lines = {line.network: line.why for line in host.lifelines(ssh_ports)}
    try:
        peers = [(address(str(peer)), port) for port in ssh_ports for peer in sock_diag.peers(port)]
        servers = [one.network.network_address for one in this_host.resolvers() if not one.network.is_loopback]
        session = list(_this_session())
    except OSError as error:
        raise CannotReach(f"cannot learn who is connected to this host: {error}") from error
    ssh = [Opening(str(peer.network_address), (port,), "in", lines[peer]) for peer, port in peers if peer in lines]
    return [*ssh, *session, *(Opening(str(server), DNS, "out", "a name server of this host") for server in servers)]


def _this_session() -> Iterator[Opening]:
    """Who started this process over ssh and is still there (sshd's SSH_CONNECTION: their address and port, ours and our port)."""
    peer, _, port = os.environ.get("SSH_CONNECTION", "").partition(" ")
    port = port.rpartition(" ")[2]
    if port.isdecimal() and 0 < int(port) < 65536 and peer in map(str, sock_diag.peers(int(port))):
        yield Opening(peer, (int(port),), "in", "the ssh session that started this")
