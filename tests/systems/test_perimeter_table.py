"""What is read back of a closed host, what is refused before anything is closed, and openings themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from agent.action import Answer, CannotReach, Holds, Protected
from agent.systems.host import Host
from agent.systems.perimeter import Opening, Perimeter, learnt
from agent.systems.perimeter_rules import covers, text, tidy
from tests.network import Network, nft, ruleset
from tests.perimeter import HOUR, OPENINGS, close, holds, open_again

# Read back ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("flush chain inet containment_host closed_out", "of its 56 rules 20 missing"),
        ("insert rule inet containment_host closed_in accept", "1 in its chains that are not its own"),
        ("flush table inet containment_host", "of its 56 rules 56 missing"),
        ("add table inet containment_host { flags dormant; }", "dormant: nothing is closed"),
        ("delete element inet containment_host armed { ipv6 }", "ipv6 is open: the kernel's switch for it is gone"),
        ("flush set inet containment_host armed", "nothing is closed: "),
    ],
)
def test_what_somebody_takes_out_is_told_and_closed_again(perimeter: Perimeter, harm: str, said: str) -> None:
    close(perimeter)
    whole = ruleset("inet", "containment_host")

    nft(harm)
    seen = holds(perimeter)
    closed = perimeter.closed(tidy(OPENINGS), HOUR)
    close(perimeter)

    assert isinstance(seen, Holds)
    assert seen.how == "partly"
    assert said in seen.say
    assert not closed
    assert holds(perimeter) is True
    assert ruleset("inet", "containment_host") == whole


def test_any_single_rule_that_is_missing_is_noticed(perimeter: Perimeter) -> None:
    close(perimeter, None)
    number = len(handles())
    assert number == 56

    seen = []
    for at in range(0, number, 4):
        chain, handle = handles()[at]
        nft(f"delete rule inet containment_host {chain} handle {handle}")
        seen.append(holds(perimeter))
        close(perimeter, None)

    assert seen == [Holds("partly", f"of its {number} rules 1 missing")] * len(seen)
    assert holds(perimeter) is True


def handles() -> list[tuple[str, str]]:
    """Each rule of ours in the kernel: its chain and its handle."""
    listed = subprocess.run(
        ["nft", "-a", "list", "table", "inet", "containment_host"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    chain, found = "", []
    for line in listed.splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            chain = words[1]
        elif "comment" in words and "handle" in words:
            found.append((chain, words[-1]))
    return found


def test_other_openings_than_those_in_force_are_not_what_holds(perimeter: Perimeter) -> None:
    close(perimeter, openings=OPENINGS[1:])

    seen = holds(perimeter)

    assert isinstance(seen, Holds)
    assert seen.say == "of its 56 rules 6 missing"


def test_a_deleted_table_holds_nothing_and_opening_it_is_harmless(perimeter: Perimeter) -> None:
    close(perimeter)

    nft("delete table inet containment_host")

    assert holds(perimeter) is False
    open_again(perimeter)
    assert perimeter.perform([perimeter.refused()]) == [Answer([])]


def test_somebody_elses_table_of_our_name_is_never_touched(perimeter: Perimeter) -> None:
    nft("add table inet containment_host; add set inet containment_host armed { type nf_proto; }")
    before = ruleset()

    (refused,) = perimeter.perform([perimeter.close(openings=OPENINGS, ttl=HOUR)])
    open_again(perimeter)
    seen = holds(perimeter)

    assert "is there, and not ours" in str(refused.error)
    assert seen == Holds(
        "no", "the table `inet containment_host` is there, and not ours (its comment is not `containment-agent`)"
    )
    with pytest.raises(CannotReach, match="is there, and not ours"):
        perimeter.preflight((*OPENINGS, *learnt(Host())))
    assert ruleset() == before


def test_chains_of_an_older_version_go_and_what_was_counted_stays(network: Network, perimeter: Perimeter) -> None:
    close(perimeter)
    whole = ruleset("inet", "containment_host")
    network.host.reach(("udp", "10.77.1.1", 4444))
    nft("""
        add chain inet containment_host older { type filter hook output priority -151; policy accept; }
        add chain inet containment_host helper
        add rule inet containment_host older jump helper
    """)

    close(perimeter)

    without_elements = [
        line for line in ruleset("inet", "containment_host").splitlines() if "10.77." not in line or "rule" in line
    ]
    assert "older" not in "\n".join(without_elements)
    (answer,) = perimeter.perform([perimeter.refused()])
    assert [one["port"] for one in answer.value if one.get("to") == "10.77.1.1"] == [4444]
    open_again(perimeter)
    close(perimeter)
    assert ruleset("inet", "containment_host") == whole


def test_nobody_elses_rules_are_touched_by_anything_we_do(network: Network, perimeter: Perimeter) -> None:
    others = [ruleset("inet", name) for name in ("somebody", "docker")]

    close(perimeter)
    close(perimeter, None)
    nft("add chain inet containment_host older")
    close(perimeter)
    while_closed = [ruleset("inet", name) for name in ("somebody", "docker")]
    open_again(perimeter)

    assert while_closed == others
    assert [ruleset("inet", name) for name in ("somebody", "docker")] == others


def test_four_threads_at_once_leave_it_whole(perimeter: Perimeter) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(5):
            answers = perimeter.perform(
                [
                    perimeter.close(openings=OPENINGS, ttl=HOUR * (1 + number)),
                    perimeter.is_closed(openings=OPENINGS),
                    perimeter.refused(),
                ]
            )
            wrong.extend(one for one in answers if one.error or isinstance(one.value, Holds))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)

    assert wrong == []
    assert holds(perimeter) is True


# Refused before anything is closed ------------------------------------------------------------------------------------------


def test_an_ssh_peer_outside_the_openings_is_told_and_so_is_a_name_server(
    network: Network, perimeter: Perimeter, tmp_path: Path
) -> None:
    network.attacker.hold("10.77.1.2", 22)
    one = Perimeter(lambda: [], host=Host(logind=tmp_path, pam=tmp_path))
    before = ruleset()

    with pytest.raises(Protected) as refused:
        one.preflight(())

    said = str(refused.value)
    assert (
        "from 10.77.1.1 to port 22 (connected to ssh port 22, and this host keeps no list of who is logged in) would be" in said
    )
    assert "nobody could log in to open it again: no opening lets anybody in to ssh (port 22)" in said
    for server in learnt(Host(), ssh_ports=()):
        assert f"to {server.network}, port 53, 853 (a name server of this host) would be cut off" in said
    assert ruleset() == before


def test_what_the_host_learns_by_itself_passes_its_own_preflight(network: Network, perimeter: Perimeter, tmp_path: Path) -> None:
    network.bystander.hold("10.77.2.2", 22)
    network.bystander.hold("fd77:2::2", 22)
    one = Perimeter(host=Host(logind=tmp_path, pam=tmp_path))

    openings = one.openings()
    one.preflight(openings)

    assert {"10.77.2.1", "fd77:2::1"} <= {each.network for each in openings if each.direction == "in" and each.ports == (22,)}


def test_the_ssh_session_that_started_the_agent_stays_open(network: Network, perimeter: Perimeter) -> None:
    network.host.listen(2222)
    network.bystander.hold("10.77.2.2", 2222)
    script = "from agent.systems.perimeter import *; from agent.systems.host import Host; print(*learnt(Host(), ()), sep='\\n')"

    def said(connection: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "SSH_CONNECTION": connection},
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout

    mine = "from 10.77.2.1 to port 2222 (the ssh session that started this)"
    assert mine in said("10.77.2.1 50000 10.77.2.2 2222")
    assert "session" not in said("10.77.2.9 50000 10.77.2.2 2222")  # that one is over
    assert "session" not in said("UNKNOWN")
    assert "session" not in said("10.77.2.1 50000 10.77.2.2 99999")


@pytest.mark.parametrize(
    ("opening", "why"),
    [
        (Opening("0.0.0.0/0"), "0.0.0.0/0 without ports is wider than /8: the host would stay open"),
        (Opening("::/0", direction="out"), "::/0 without ports is wider than /19: the host would stay open"),
        (Opening("10.0.0.1/8"), "10.0.0.1/8 has host bits set"),
        (Opening("ops.example"), "`ops.example` is neither an address nor a network"),
        (Opening("10.0.0.1; flush ruleset"), "is neither an address nor a network"),
        (Opening("10.0.0.1", (0,)), "from 1 to 65535"),
        (Opening("10.0.0.1", tuple(range(1, 18))), "at most 16 ports"),
    ],
)
def test_an_opening_that_cannot_be_is_refused_and_nothing_is_closed(perimeter: Perimeter, opening: Opening, why: str) -> None:
    before = ruleset()

    (answer,) = perimeter.perform([perimeter.close(openings=(*OPENINGS, opening), ttl=HOUR)])

    assert isinstance(answer.error, CannotReach)
    assert why in str(answer.error)
    assert ruleset() == before


def test_too_many_openings_and_a_time_that_is_over_are_refused(perimeter: Perimeter) -> None:
    many = tuple(Opening(f"10.0.0.{at}", (22,)) for at in range(129))

    answers = perimeter.perform(
        [perimeter.close(openings=many, ttl=HOUR), perimeter.close(openings=OPENINGS, ttl=timedelta(seconds=-1))]
    )

    assert ["129 openings are too many" in str(answers[0].error), "time that is over" in str(answers[1].error)] == [True, True]
    assert holds(perimeter) is False


def test_a_hostile_reason_stays_a_comment(perimeter: Perimeter) -> None:
    hostile = Opening("10.77.2.1", (22,), "in", 'x" accept; flush ruleset\nadd table inet evil "' + "é" * 200)

    close(perimeter, openings=(hostile,))

    assert holds(perimeter, (hostile,)) is True
    assert "evil {" not in ruleset()


def test_as_many_openings_as_there_may_be_are_closed_around_in_time(perimeter: Perimeter) -> None:
    many = tuple(Opening(f"10.{at}.0.0/16", tuple(range(1, 17)), "out", "a service") for at in range(128))

    close(perimeter, openings=many)

    assert holds(perimeter, many) is True


def test_without_the_right_to_change_the_ruleset_it_says_so_and_still_plans(perimeter: Perimeter) -> None:
    script = f"""
from agent.systems.perimeter import Opening, Perimeter, learnt
from agent.systems.host import Host
one, openings = Perimeter(), {OPENINGS!r}
print(one.closed(openings, None), one.preflight((*openings, *learnt(Host()))))
for answer in one.perform([one.close(openings=openings, ttl=None), one.is_closed(openings=openings)]):
    print(answer.error)
"""

    said = subprocess.run(
        ["setpriv", "--bounding-set", "-net_admin", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.splitlines()

    assert said[0] == "False None"
    assert ["the agent needs CAP_NET_ADMIN" in line for line in said[1:]] == [True, True]


# Pure -----------------------------------------------------------------------------------------------------------------------


def test_openings_are_spelled_in_one_way_and_named_once() -> None:
    given = [
        Opening("::ffff:10.0.0.1", (53, 22, 53), "in", "first"),
        Opening("10.0.0.1/32", (22, 53), "in", "second"),
        Opening("2001:DB8::/32", direction="out"),
    ]

    assert tidy(given) == (Opening("10.0.0.1", (22, 53), "in", "first"), Opening("2001:db8::/32", (), "out", ""))


@pytest.mark.parametrize(
    ("opening", "covered"),
    [
        (Opening("10.1.2.3", (22,)), True),
        (Opening("10.1.2.3", (22, 80)), True),
        (Opening("10.1.2.3", (23,)), False),
        (Opening("10.1.2.3"), False),
        (Opening("10.1.2.3", (22,), "out"), False),
        (Opening("192.168.1.1", (23,)), True),
        (Opening("192.168.1.1"), True),
        (Opening("192.0.0.0/8", (22,)), False),
        (Opening("2001:db8::1", (22,)), False),
    ],
)
def test_an_opening_is_covered_by_wider_ones_of_its_direction(opening: Opening, covered: bool) -> None:
    openings = (Opening("10.0.0.0/8", (22,)), Opening("10.1.0.0/16", (80,)), Opening("192.168.0.0/16"))

    assert covers(openings, opening) is covered


def test_no_rule_asks_conntrack_or_holds_a_set_without_a_name() -> None:
    everything = [*OPENINGS, Opening("10.0.0.0/8"), Opening("2001:db8::/32", direction="out")]

    lines = [line for line in text(tidy(everything), None).splitlines() if line.startswith("add rule")]

    assert not [line for line in lines if " ct " in line]
    assert not [line for line in lines if "{" in line and "update @" not in line]
