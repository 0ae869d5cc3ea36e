"""This host closed to everything but its openings: what packets see of it, and who lets go."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from agent.action import Answer, Holds
from agent.systems.perimeter import Opening, Perimeter
from agent.systems.perimeter_rules import rearmed, tidy
from tests.network import Network, ip, nft, ruleset
from tests.perimeter import HOUR, OPENINGS, close, holds, open_again
from tests.systems.test_firewall import wait_until

FAMILIES = {
    "IPv4": ("10.77.1.2", "10.77.2.2", "10.77.1.1", "10.77.2.1"),
    "IPv6": ("fd77:1::2", "fd77:2::2", "fd77:1::1", "fd77:2::1"),
}
"""The host as attacker and as operator know it, and their own addresses."""


# What packets see ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_open_and_new_connections_are_cut_both_ways_but_the_operators_session_goes_on(
    network: Network, perimeter: Perimeter, family: str
) -> None:
    host, hosts_other, attacker, operator = FAMILIES[family]
    session, inward, published = (
        network.bystander.hold(hosts_other, 22),
        network.attacker.hold(host, 22),
        network.attacker.hold(host, 8080),
    )
    command_and_control, forwarded = network.host.hold(attacker, 9000), network.container.hold(attacker, 9000)
    before = (network.host.heard(7000), network.container.heard(80), network.attacker.heard(9000))

    close(perimeter)

    ways_in = (("connects", host, 22), ("connects", host, 8080), ("udp", host, 7000), ("udp", host, 8080))
    assert network.attacker.reach(*ways_in, ("talks", inward), ("talks", published)) == [False] * 6
    ways_out = (("connects", attacker, 9000), ("udp", attacker, 9000), ("connects", operator, 9000), ("udp", operator, 9000))
    assert network.host.reach(*ways_out, ("talks", command_and_control)) == [False] * 5
    assert network.container.reach(("talks", forwarded), ("udp", attacker, 9000), ("connects", operator, 9000)) == [False] * 3
    assert (network.host.heard(7000), network.container.heard(80), network.attacker.heard(9000)) == before
    assert network.bystander.reach(("connects", hosts_other, 8080), ("connects", hosts_other, 7000)) == [False] * 2
    assert network.bystander.reach(("talks", session), ("connects", hosts_other, 22)) == [True] * 2
    assert network.host.connects("127.0.0.1", 22)
    assert holds(perimeter) is True


def test_opened_again_everything_is_as_it_was_and_open_connections_live(network: Network, perimeter: Perimeter) -> None:
    before = ruleset()
    held = network.host.hold("10.77.1.1", 9000)
    close(perimeter)
    assert network.host.reach(("talks", held)) == [False]

    open_again(perimeter)

    assert ruleset() == before
    assert network.attacker.reach(("connects", "10.77.1.2", 22), ("connects", "fd77:1::2", 8080)) == [True, True]
    wait_until(lambda: network.host.talks(held))


def test_a_session_that_conntrack_never_saw_goes_on_even_when_somebody_starts_conntrack(
    network: Network, perimeter: Perimeter
) -> None:
    """The bystander is the host here: its namespace has no rule of anybody's yet, and so no connection tracking."""
    inside = ["ip", "netns", "exec", network._names[1]]
    opened = (Opening("10.77.2.2", (9000,)), Opening("fd77:2::2", (9000,)))
    script = f"""
from agent.systems.perimeter import Opening, Perimeter
one = Perimeter()
print(one.perform([one.close(openings={opened!r}, ttl=None), one.is_closed(openings={opened!r})]))
"""
    tracking = "table inet stateful { chain input { type filter hook input priority 0; ct state established accept; }; }"
    assert subprocess.run([*inside, "nft", "list", "ruleset"], capture_output=True, check=True, timeout=10).stdout == b""
    sessions = [network.host.hold(address, 9000) for address in ("10.77.2.1", "fd77:2::1")]

    done = subprocess.run([*inside, sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    subprocess.run([*inside, "nft", "-f", "-"], input=tracking, text=True, check=True, timeout=10)

    assert done.stdout == f"{[Answer(), Answer(True)]}\n"
    assert network.host.reach(*(("talks", one) for one in sessions)) == [True, True]
    assert not network.container.connects("10.77.2.1", 9000)
    subprocess.run([*inside, "nft", "flush", "ruleset"], check=True, timeout=10)


def test_names_are_asked_of_the_name_servers_and_of_nobody_else(network: Network, perimeter: Perimeter) -> None:
    for machine in (network.bystander, network.attacker):
        machine.listen(53)

    close(perimeter)

    for *_, attacker, server in FAMILIES.values():
        assert network.host.reach(("udp", server, 53), ("connects", server, 53)) == [True, True]
        assert network.host.reach(("udp", attacker, 53), ("connects", attacker, 53)) == [False, False]
    assert network.bystander.reach(("udp", "10.77.2.2", 7000, 5353), ("connects", "10.77.2.2", 7000)) == [False, False]


def test_an_opening_without_ports_is_open_for_all_that_its_direction_allows(network: Network, perimeter: Perimeter) -> None:
    inward, outward = Opening("10.77.2.0/24"), Opening("fd77:2::/64", direction="out")

    close(perimeter, openings=(inward, outward))

    assert network.bystander.reach(("connects", "10.77.2.2", 7000), ("udp", "10.77.2.2", 7000)) == [True, True]
    assert network.host.reach(("connects", "fd77:2::1", 9000), ("udp", "fd77:2::1", 9000)) == [True, True]
    assert not network.host.connects("10.77.2.1", 9000)
    assert not network.bystander.connects("fd77:2::2", 7000)
    assert not network.bystander.connects("10.77.2.2", 8080)  # forwarded to a container
    assert network.attacker.reach(("connects", "10.77.1.2", 22), ("connects", "fd77:1::2", 22)) == [False, False]


def test_neighbours_are_found_again_after_every_one_is_forgotten(network: Network, perimeter: Perimeter) -> None:
    close(perimeter)

    for command in ((), ("-n", network._names[1])):
        ip(*command, "-6", "neigh", "flush", "all")
        ip(*command, "-4", "neigh", "flush", "all")

    assert network.bystander.reach(("connects", "fd77:2::2", 22), ("connects", "10.77.2.2", 22)) == [True, True]
    assert network.host.udp("fd77:2::1", 9000) is False


def test_who_was_refused_is_counted_with_protocol_and_port(network: Network, perimeter: Perimeter) -> None:
    close(perimeter)
    network.host.reach(*[("udp", "10.77.1.1", 4444)] * 3, ("connects", "fd77:1::1", 443))
    network.container.reach(("udp", "10.77.1.1", 4445))
    network.attacker.reach(("connects", "10.77.1.2", 22))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw, contextlib.suppress(PermissionError):
        raw.sendto(b"\x08\0\xf7\xff\0\0\0\0", ("10.77.1.1", 0))  # an echo request, as a tunnel would use
    assert holds(perimeter) is True

    (answer,) = perimeter.perform([perimeter.refused()])

    counted = {tuple(one[key] for key in ("to", "from", "protocol", "port") if key in one): one for one in answer.value}
    assert counted["10.77.1.1", "udp", 4444]["packets"] == 3
    assert counted["10.77.1.1", "udp", 4444]["bytes"] == 3 * 29
    assert counted["fd77:1::1", "tcp", 443]["packets"] >= 1
    assert counted["10.77.1.1", "udp", 4445]["packets"] == 1
    assert {("10.77.1.1",), ("10.77.3.1",), ("10.77.1.1", "icmp")} <= set(counted)
    assert not any(key[0].startswith("192.0.2.") for key in counted)  # our own probe is nobody's doing


# The switch in the kernel ---------------------------------------------------------------------------------------------------


def test_the_kernel_lets_go_by_itself_when_who_closed_was_killed(network: Network, perimeter: Perimeter) -> None:
    script = f"""
import time
from datetime import timedelta
from agent.systems.perimeter import Opening, Perimeter
one = Perimeter()
one.perform([one.close(openings={OPENINGS!r}, ttl=timedelta(seconds=2))])
print("closed", flush=True)
time.sleep(60)
"""
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    assert agent.stdout.readline() == "closed\n"
    agent.kill()
    agent.communicate(timeout=5)
    ways = [("connects", host, 22) for host, *_ in FAMILIES.values()]
    assert network.attacker.reach(*ways) == [False, False]
    assert holds(perimeter) is True

    wait_until(lambda: network.attacker.reach(*ways) == [True, True])

    left = holds(perimeter)
    assert isinstance(left, Holds)
    assert left.how == "partly"
    assert left.say.startswith("nothing is closed: the time it had in the kernel is over")
    open_again(perimeter)
    assert holds(perimeter) is False


@pytest.mark.parametrize("first", [timedelta(minutes=5), HOUR * 4, None])
def test_closing_again_sets_the_time_that_is_left_longer_or_shorter(perimeter: Perimeter, first: timedelta | None) -> None:
    close(perimeter, first)

    close(perimeter, HOUR)

    assert perimeter.closed(tidy(OPENINGS), HOUR)
    assert not perimeter.closed(tidy(OPENINGS), HOUR * 2)
    close(perimeter, None)
    assert perimeter.closed(tidy(OPENINGS), None)


def test_on_a_kernel_that_keeps_the_time_of_an_element_it_is_replaced(perimeter: Perimeter) -> None:
    """Before Linux 6.12, adding an element again changes nothing."""
    close(perimeter, HOUR * 4)

    nft(rearmed(HOUR))

    assert perimeter.closed(tidy(OPENINGS), HOUR)
    assert not perimeter.closed(tidy(OPENINGS), HOUR * 2)
    assert holds(perimeter) is True


def test_no_packet_gets_through_while_it_is_closed_again_and_again(network: Network, perimeter: Perimeter) -> None:
    nft("""
        table inet somebody {
          counter leaked { }
          chain late { type filter hook input priority 0; ip saddr 11.0.0.0/8 counter name leaked; }
        }
    """)
    network.attacker.flood("10.77.1.2", 7001, 10)
    assert "packets 10 " in counter("leaked")
    close(perimeter)
    heard = network.attacker.heard(9000)
    flood = threading.Thread(target=network.attacker.flood, args=("10.77.1.2", 7001, 40_000))
    kept_in = Sender("10.77.1.1", 9000)

    flood.start()
    times = 0
    while flood.is_alive():
        close(perimeter, HOUR * (1 + times % 3), OPENINGS[times % 2 :])
        times += 1
    flood.join()
    refused, escaped = kept_in.end()

    assert times >= 5
    assert refused > 2_000
    assert (escaped, network.attacker.heard(9000)) == (0, heard)
    assert "packets 10 " in counter("leaked")


class Sender:
    """Sends UDP packets to one address from this host as fast as it can, until it is ended."""

    def __init__(self, address: str, port: int) -> None:
        self._target, self._over = (address, port), threading.Event()
        self._refused = self._sent = 0
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._over.is_set():
                try:
                    sender.sendto(b"?", self._target)
                    self._sent += 1
                except PermissionError:
                    self._refused += 1

    def end(self) -> tuple[int, int]:
        """How many packets were refused, and how many left."""
        self._over.set()
        self._thread.join(5)
        return self._refused, self._sent


def counter(name: str) -> str:
    return subprocess.run(
        ["nft", "list", "counter", "inet", "somebody", name], capture_output=True, text=True, check=True, timeout=10
    ).stdout
