"""The table itself: taking over, healing, batches, refusals, and hearing of others."""

from __future__ import annotations

import math
import queue
import subprocess
import sys
import threading
import time
from datetime import timedelta
from ipaddress import ip_network

import pytest

from agent.action import Call, CannotReach
from agent.systems.firewall import Firewall, Foreign
from agent.systems.ruleset import text
from tests.network import Network, nft, ruleset
from tests.systems.test_firewall import done

HOUR = timedelta(hours=1)
ADDRESS = ip_network("203.0.113.7")


def batch(firewall: Firewall, number: int) -> list[Call]:
    return [firewall.block(ip=ip_network(0x14000000 + at), ttl=HOUR) for at in range(number)]


def ends(firewall: Firewall) -> dict[str, float]:
    return {str(one.args["ip"]): one.expires_in or math.inf for one in firewall.held()}


# In force, and for how long --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["netlink", "nft"])
@pytest.mark.parametrize("text", ["203.0.113.7", "203.0.113.0/24", "2001:db8::/64", "2001:db8::/48"])
def test_the_longer_ttl_wins_in_whatever_order(firewall: Firewall, text: str, through: str) -> None:
    writer = Firewall(through)  # type: ignore[arg-type]
    net = ip_network(text)

    lasting = []
    for span in (HOUR, HOUR * 3, HOUR * 2, None, HOUR):
        done(writer, writer.block(ip=net, ttl=span))
        lasting.append(ends(firewall)[str(net)])

    assert lasting == [pytest.approx(3600, abs=5), *[pytest.approx(10800, abs=5)] * 2, math.inf, math.inf]
    assert writer.blocks(net, None)


def test_in_one_batch_the_last_word_counts_and_the_longest_ttl(firewall: Firewall) -> None:
    other = ip_network("2001:db8::/48")

    done(
        firewall,
        firewall.block(ip=ADDRESS, ttl=HOUR * 2),
        firewall.block(ip=ADDRESS, ttl=HOUR),
        firewall.block(ip=other, ttl=HOUR),
        firewall.unblock(ip=other),
    )

    assert ends(firewall) == {"203.0.113.7/32": pytest.approx(7200, abs=5)}


def test_ten_thousand_blocks_are_one_batch_and_read_back(firewall: Firewall) -> None:
    calls = batch(firewall, 10_000)

    values = done(firewall, *calls, *(firewall.is_blocked(ip=one.args["ip"]) for one in calls))

    assert values == [None] * 10_000 + [True] * 10_000
    assert all(firewall.blocks(one.args["ip"], HOUR) for one in calls)
    assert len(firewall.held()) == 10_000


def test_ten_thousand_blocks_of_egress_are_one_transaction_and_read_back(firewall: Firewall) -> None:
    calls = [firewall.block_egress(ip=ip_network(0x14000000 + at), ttl=HOUR) for at in range(9_000)]
    calls += [firewall.block_egress(ip=ip_network((0x20000000 + at * 512, 24)), ttl=HOUR, ports=(443,)) for at in range(1_000)]
    before = firewall._table._kernel().generation()

    values = done(firewall, *calls)

    assert firewall._table._kernel().generation() == before + 1
    held = [firewall.is_blocked_egress(**{key: value for key, value in one.args.items() if key != "ttl"}) for one in calls]
    assert values + done(firewall, *held) == [None] * 10_000 + [True] * 10_000
    assert len(firewall.held()) == 10_000


def test_somebodys_ten_thousand_networks_do_not_slow_a_block(firewall: Firewall) -> None:
    def quickest() -> float:
        times = []
        for at in range(30):
            begin = time.perf_counter()
            done(firewall, firewall.block(ip=ip_network(0x15000000 + at), ttl=HOUR))
            times.append(time.perf_counter() - begin)
            done(firewall, firewall.unblock(ip=ip_network(0x15000000 + at)))
        return min(times)

    alone = quickest()
    listed = ", ".join(f"{at // 256}.{at % 256}.0.0/17" for at in range(256 * 20, 256 * 60))
    nft(f"add element inet somebody listed {{ {listed} }}")

    beside = quickest()

    sys.stdout.write(f"one block {alone * 1e6:.0f} µs; beside 10,240 networks of somebody's {beside / alone:.2f} times that\n")
    done(firewall, firewall.block(ip=ADDRESS, ttl=HOUR))
    assert done(firewall, firewall.is_blocked(ip=ADDRESS)) == [True]


# Refusals --------------------------------------------------------------------------------------------------------------


def test_a_bad_call_in_the_middle_takes_no_other_down(firewall: Firewall) -> None:
    calls = [
        firewall.block(ip=ip_network("203.0.113.1"), ttl=HOUR),
        firewall.block(ip=ip_network("0.0.0.0/0"), ttl=HOUR),
        firewall.block(ip=ip_network("2001::/16"), ttl=HOUR),
        firewall.block(ip=ip_network("203.0.113.2"), ttl=timedelta(seconds=-5)),
        Call("firewall", "melt", {}),
        firewall.limit(ip=None, ports=(), rps=5, burst=5, ttl=HOUR),
        firewall.block(ip=ip_network("203.0.113.3"), ttl=HOUR),
        firewall.block_egress(ip=ip_network("10.0.0.0/7"), ttl=HOUR),
    ]

    said = [str(one.error or "") for one in firewall.perform(calls)]

    assert said[1].startswith("cannot block 0.0.0.0/0: it is wider than /8")
    assert said[2].startswith("cannot block 2001::/16: it is wider than /19")
    assert "ttl is over" in said[3]
    assert "no such verb" in said[4]
    assert "cannot limit everything" in said[5]
    assert [said[0], said[6]] == ["", ""]
    assert said[7].startswith("cannot block 10.0.0.0/7: it is wider than /8")
    assert sorted(ends(firewall)) == ["203.0.113.1/32", "203.0.113.3/32"]


def test_a_full_set_refuses_what_does_not_fit_and_keeps_the_rest(firewall: Firewall) -> None:
    def limit(number: int) -> Call:
        return firewall.limit(ip=ip_network(number), ports=(), rps=5, burst=5, ttl=HOUR)

    done(firewall, *(limit(0x14000000 + at) for at in range(16_384)))

    answers = firewall.perform([firewall.block(ip=ADDRESS, ttl=HOUR), limit(1 << 24), limit(0x14000000)])

    assert [str(one.error or "") for one in answers] == [
        "",
        "cannot limit 1.0.0.0: the set is full (16384 in force); lift some first",
        "",
    ]


def test_what_the_kernel_itself_refuses_is_found_and_left_out(firewall: Firewall) -> None:
    """As when elements that ended are not collected yet: the kernel counts them, our reading does not."""

    def limit(number: int) -> Call:
        return firewall.limit(ip=ip_network(number), ports=(), rps=5, burst=5, ttl=HOUR)

    done(firewall, *(limit(0x14000000 + at) for at in range(16_383)))
    firewall._table.look().ends["host_5_5_any_any_4"].clear()

    answers = firewall.perform([firewall.block(ip=ADDRESS, ttl=HOUR), *(limit(0x01000000 + at) for at in range(40))])

    assert [str(one.error or "") for one in answers] == [
        *("", ""),
        *(f"cannot limit 1.0.0.{at}: the set is full (16384 in force); lift some first" for at in range(1, 40)),
    ]
    assert done(firewall, firewall.is_blocked(ip=ADDRESS)) == [True]


def test_more_different_limits_than_there_is_room_for_are_refused_alone(firewall: Firewall) -> None:
    limits = [firewall.limit(ip=None, ports=(80,), rps=rate, burst=rate, ttl=HOUR, per="all") for rate in range(1, 34)]

    answers = firewall.perform([*limits, firewall.block(ip=ADDRESS, ttl=HOUR)])

    assert [one.error for one in (*answers[:32], answers[33])] == [None] * 33
    assert str(answers[32].error) == "cannot limit port 80: 32 different limits are in force; lift one of them first"
    assert len(firewall.held()) == 33


def test_without_the_right_to_change_the_ruleset_it_says_so_and_still_plans() -> None:
    script = """
from datetime import timedelta
from ipaddress import ip_network
from agent.systems.firewall import Firewall
one, net = Firewall(), ip_network("203.0.113.7")
print(one.ready())
print(one.blocks(net, timedelta(hours=1)))
for answer in one.perform([one.block(ip=net, ttl=None), one.block_egress(ip=net, ttl=None)]):
    print(answer.error)
"""

    said = subprocess.run(
        ["setpriv", "--bounding-set", "-net_admin", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.splitlines()

    assert "the agent needs CAP_NET_ADMIN" in said[0]
    assert said[1] == "False"
    assert said[2].startswith("cannot block 203.0.113.7: the kernel does not allow it; the agent needs CAP_NET_ADMIN")
    assert said[3].startswith("cannot block egress to 203.0.113.7: the kernel does not allow it")


# Taking over, and somebody else ----------------------------------------------------------------------------------------


def test_a_new_process_takes_over_what_is_in_force(firewall: Firewall) -> None:
    done(firewall, *batch(firewall, 100), firewall.limit(ip=None, ports=(22,), rps=5, burst=5, ttl=HOUR))
    before = ruleset("inet", "containment")

    later = Firewall()
    later.prepare()

    assert ruleset("inet", "containment") == before
    assert len(later.held()) == 101


def test_a_table_without_the_sets_of_egress_is_brought_up_to_date_where_it_stands(network: Network, firewall: Firewall) -> None:
    """As an agent from before block_egress left it, with a block in force and packets coming."""
    newest = ruleset("inet", "containment")
    older = "".join(line for line in text((), (), ()).splitlines(keepends=True) if "_out" not in line)
    nft("delete table inet containment\n" + older)
    nft("add element inet containment nets4 { 11.0.0.0/8 timeout 1h }")
    nft("add element inet containment asked4 { 11.0.0.0 . 8 . 0 timeout 1h }")
    assert "_out" not in ruleset("inet", "containment")
    heard, later = network.host.heard(7000), Firewall()
    flood = threading.Thread(target=network.attacker.flood, args=("10.77.1.2", 7000, 20_000))

    flood.start()
    before = done(later, later.is_blocked(ip=ip_network("11.0.0.0/8")), later.is_blocked_egress(ip=ADDRESS))
    later.prepare()
    done(later, later.block_egress(ip=ADDRESS, ttl=HOUR))
    flood.join()

    assert before == [True, False]
    assert network.host.heard(7000) == heard
    assert {str(one.args["ip"]): one.packets for one in later.held()} == {"11.0.0.0/8": 20_000, "203.0.113.7/32": 0}
    done(later, later.unblock_egress(ip=ADDRESS), later.unblock(ip=ip_network("11.0.0.0/8")))
    assert sorted(ruleset("inet", "containment").splitlines()) == sorted(newest.splitlines())


def test_rules_of_an_older_version_go_when_a_newer_one_takes_over(firewall: Firewall) -> None:
    before = ruleset("inet", "containment")
    nft("""
        add chain inet containment older { type filter hook input priority 0; policy accept; }
        add chain inet containment helper
        add rule inet containment older ip saddr @hosts4 jump helper
        add rule inet containment helper drop
    """)

    Firewall().prepare()

    assert ruleset("inet", "containment") == before


def test_somebody_elses_table_of_our_name_is_never_touched(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: nft("delete table inet containment"))
    nft("add table inet containment; add chain inet containment theirs { type filter hook input priority 0; }")
    before = ruleset()
    firewall = Firewall()

    said = firewall.ready()
    (answer,) = firewall.perform([firewall.block(ip=ADDRESS, ttl=HOUR)])
    with pytest.raises(CannotReach, match="it is there, and not ours"):
        firewall.prepare()

    assert "it is there, and not ours" in said
    assert "it is there, and not ours" in str(answer.error)
    assert ruleset() == before


@pytest.mark.parametrize(
    "harm",
    [
        "flush chain inet containment from4",
        "insert rule inet containment from4 accept",
        "flush table inet containment",
        "add table inet containment { flags dormant; }",
        "delete element inet containment hosts4 { 203.0.113.7 }",
        "delete element inet containment nets6 { 2001:db8::/48 }",
        "delete element inet containment hosts_out4 { 203.0.113.7 }",
        "delete element inet containment portnets_out6 { 2001:db8::/48 . 443 }",
        "delete element inet containment allow4 { 192.0.2.1 }",
        "flush ruleset",
    ],
)
def test_whatever_somebody_does_to_our_table_is_seen_and_healed(firewall: Firewall, harm: str) -> None:
    four, six = ip_network("203.0.113.7"), ip_network("2001:db8::/48")
    blocks = [firewall.block(ip=one, ttl=HOUR) for one in (four, six)]
    blocks += [firewall.block_egress(ip=four, ttl=HOUR), firewall.block_egress(ip=six, ttl=HOUR, ports=(443,))]
    asked = [firewall.is_blocked(ip=four), firewall.is_blocked(ip=six)]
    asked += [firewall.is_blocked_egress(ip=four), firewall.is_blocked_egress(ip=six, ports=(443,))]
    firewall.protect([ip_network("192.0.2.1")])
    done(firewall, *blocks)
    before = ruleset("inet", "containment")

    nft(harm)
    holds = all(done(firewall, *asked))
    planned = all(
        [
            firewall.blocks(four, HOUR),
            firewall.blocks(six, HOUR),
            firewall.blocks_egress(four, HOUR),
            firewall.blocks_egress(six, HOUR, (443,)),
        ]
    )
    done(firewall, *blocks)

    assert not holds
    assert not planned
    assert done(firewall, *asked) == [True] * 4
    assert ruleset("inet", "containment") == before


def test_who_flushed_is_heard_while_our_own_transactions_are_not(firewall: Firewall) -> None:
    heard: queue.Queue[Foreign] = queue.Queue()
    firewall.watch(heard.put)
    done(firewall, *batch(firewall, 10_000))
    done(firewall, firewall.limit(ip=None, ports=(22,), rps=5, burst=5, ttl=HOUR))
    firewall.protect([ip_network("192.0.2.1")])

    nft("flush ruleset")
    who = heard.get(timeout=5)
    firewall.prepare()
    done(firewall, *batch(firewall, 10_000))
    nft("add table inet somebody")
    then = heard.get(timeout=5)

    assert (who.comm, str(who)) == ("nft", f"nft (pid {who.pid})")
    assert then.comm == "nft"
    assert then.generation > who.generation + 2
    assert heard.empty()
    assert len(firewall.held()) == 10_000


def test_a_transaction_of_somebody_elses_in_between_is_no_hindrance(firewall: Firewall) -> None:
    for at, one in enumerate(batch(firewall, 20)):
        nft(f"add element inet containment hosts4 {{ {one.args['ip'].network_address} timeout 1m }}")
        nft(f"add element inet somebody listed {{ 30.0.{at}.0/25 }}")

        done(firewall, one)

    assert list(ends(firewall).values()) == [pytest.approx(3600, abs=20)] * 20
