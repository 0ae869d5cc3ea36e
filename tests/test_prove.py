"""What no set of policies may contain, and what is said of each step that it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import wiring
from agent.action import Change, action
from agent.grammar.config import Config
from agent.grammar.config_keys import OpenKeys, PostgresKeys, VaultKeys
from agent.grammar.policy_reader import read_policies
from agent.grammar.problem import Problem, Problems
from agent.guard import Lifeline
from agent.policy import Limits, Rate
from agent.proving.grounds import configured, ground
from agent.proving.prove import Proof, problems, prove
from agent.schema import Address, address
from tests.stories import Gate

LISTS = {"office": (address("192.0.2.0/24"),), "monitoring": (), "home": (address("198.51.100.8/29"),), "threats": ()}
KNOWN = replace(wiring.catalogue(None), lists=LISTS)
HEAD = "policy: p\nseverity: P2\nowner: sre\nguard: {max: 20 per 10m}\n"
FAILURES = "when: {event: auth.ssh.failure, by: src.ip, count: '>= 8 in 2m'}\n"
FALCO = "when: {event: falco.alert, by: container.id, count: '>= 1 in 2m'}\n"
CONFIG: Mapping[str, Any] = {
    "never_touch": (address("198.51.100.0/28"),),
    "lists": LISTS,
    "protected": ("unit postgresql*", "container registry", "role replicator", "host"),
    "postgres": {"main": PostgresKeys(host="203.0.113.40", user="agent"), "other": PostgresKeys(dsn="host=db user=watcher")},
    "vault": VaultKeys("https://203.0.113.41:8200", "role", Path("secret"), mount="contain", protected=("break-glass",)),
    "keep_open": {"jump": OpenKeys(address("203.0.113.42"))},
    "ssh_ports": (2222,),
}
GATEWAY = Lifeline(address("10.0.0.1"), "a gateway of this host, on eth0")


def config(**more: Any) -> Config:
    return Config(**{**CONFIG, **more})


def proof(steps: str, when: str = FAILURES, more: str = "", made: Config | None = None, never: str = "[]") -> Proof:
    head = HEAD.replace("}", f", never: {never}}}")
    policies, _ = read_policies({"p.yaml": f"{head}{when}{more}then:\n{steps}\n"}, KNOWN, wiring.parse)
    return prove(policies, ground(made or config(), KNOWN, [GATEWAY]))


def errors(*given: Any, **more: Any) -> list[Problem]:
    return [one for one in proof(*given, **more).problems if one.level == "error"]


@action(impact="mild")
class Leave:
    """Close the gate, and leave it so: there is no ttl."""

    ip: Address

    def plan(self, gate: Gate) -> list[Change]:
        return [Change("close the gate", gate.close(ip=self.ip, ttl=None), gate.open(ip=self.ip), gate.holds(ip=self.ip))]


# Refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "because"),
    [
        ("block_ip: {ip: 10.0.0.1, ttl: 1h}", "10.0.0.1 is a life-line, never touched: a gateway of this host, on eth0"),
        ("block_ip: {ip: 10.0.0.0/16, ttl: 1h}", "10.0.0.0/16 contains 10.0.0.1"),
        ("block_ip: {ip: 198.51.100.3, ttl: 1h}", "198.51.100.3 lies in 198.51.100.0/28"),
        ("block_ip: {ip: 203.0.0.0/15, ttl: 1h}", "wider than /16"),
        ("block_ip: {ip: '2001:db8::/31', ttl: 1h}", "wider than /32"),
        ("block_ip: {ip: 127.0.0.1, ttl: 1h}", "loopback"),
        ("rate_limit: {ip: 10.0.0.1, rps: 500, ttl: 1h}", "a gateway of this host"),
        ("block_egress: {ip: 203.0.113.40, ttl: 1h}", "PostgreSQL main in agent.yaml"),
        ("block_egress: {ip: 203.0.113.41, ttl: 1h}", "Vault in agent.yaml"),
        ("block_egress: {ip: 203.0.113.42, ttl: 1h}", "keep_open jump in agent.yaml"),
        ("stop_service: {unit: ssh.service, ttl: 1h}", "people get in by it"),
        ("restart_service: {unit: dbus.service}", "every order to systemd goes through it"),
        ("freeze_service: {unit: systemd-logind.service, ttl: 1h}", "systemd itself is made of it"),
        ("isolate_service: {unit: containment-agent.service, ttl: 1h}", "is the agent itself"),
        ("stop_service: {unit: postgresql@15-main.service, ttl: 1h}", "protected in agent.yaml (`unit postgresql*`)"),
        ("isolate_container: {container: registry, ttl: 1h}", "protected in agent.yaml (`container registry`)"),
        ("lock_role: {role: replicator, ttl: 1h}", "protected in agent.yaml (`role replicator`)"),
        ("lock_role: {role: agent, ttl: 1h}", "the one by which the agent itself logs in"),
        ("lock_role: {role: watcher, instance: other, ttl: 1h}", "the one by which the agent itself logs in"),
        ("end_sessions: {role: agent}", "the one by which the agent itself logs in"),
        ("lock_user: {user: root, ttl: 1h}", "nobody could mend anything"),
        ("isolate_host: {ttl: 1h}", "host is protected in agent.yaml"),
        ("revoke_credentials: {entity: break-glass, ttl: 1h}", "protected in agent.yaml (systems: vault)"),
        ("revoke_credentials: {accessor: break-glass}", "protected in agent.yaml (systems: vault)"),
        ("revoke_credentials: {lease_prefix: auth/contain/login}", "where the agent logs in"),
        ("revoke_credentials: {lease_prefix: database}", "holds a whole mount"),
        ("revoke_credentials: {lease: auth/token/root/abc}", "root tokens stand there"),
        ("rate_limit: {rps: 4, ports: [80, 2222], per: all, ttl: 1h}", "one guesser uses them up"),
        ("rate_limit: {rps: 4, per: all, ttl: 1h}", "one guesser uses them up"),
        ("revoke_credentials: {entity: app}", "it would stay for ever"),
    ],
)
def test_a_step_that_could_only_harm_is_refused_with_its_reason(step: str, because: str) -> None:
    (problem,) = errors(f"  - {step}")

    assert because in problem.text
    assert problem.hint


@pytest.mark.parametrize(
    "step",
    [
        "block_ip: {ip: 203.0.113.7, ttl: 1h, ports: [2222]}",
        "block_ip: {ip: 10.0.0.2, ttl: 1h}",
        "end_sessions: {address: 127.0.0.1}",
        "isolate_service: {unit: nginx.service, ttl: 1h, allow: [10.0.0.1, 0.0.0.0/0]}",
        "lock_role: {role: agent, instance: other, ttl: 1h}",
        "lock_role: {role: watcher, ttl: 1h}",
        "stop_service: {unit: nginx.service, ttl: 1h}",
        "snapshot: {what: container, container: registry}",
        "rate_limit: {rps: 1, ports: [2222], ttl: 1h}",
        "rate_limit: {rps: 5, ports: [2222], per: all, ttl: 1h}",
        "rate_limit: {rps: 1, ports: [80], per: all, ttl: 1h}",
        "rate_limit: {rps: 1, service: http, per: all, ttl: 1h}",
        "rate_limit: {ip: $src.ip, rps: 1, per: all, ttl: 1h}",
        "revoke_credentials: {accessor: abc}",
        "revoke_credentials: {lease_prefix: database/creds/app}",
        "revoke_credentials: {entity: app, ttl: 1h}",
    ],
)
def test_what_harms_nobody_is_not_refused(step: str) -> None:
    assert errors(f"  - {step}") == []


def test_each_problem_stands_where_the_value_stands() -> None:
    (problem,) = errors("  - block_ip: {ttl: 1h, ip: 10.0.0.1}")

    assert (problem.place.file, problem.place.line, problem.place.word) == ("p.yaml", 7, "10.0.0.1")


def test_a_default_is_as_good_as_written_out_and_is_told_at_the_action() -> None:
    (problem,) = errors("  - lock_role: {role: agent, ttl: 1h}\n")
    (default,) = errors("  - stop_writes: {ttl: 1h}", made=config(protected=("postgres main",)))

    assert problem.place.word == "agent"
    assert default.place.word == "stop_writes"


def test_a_list_that_the_policy_itself_never_touches_counts() -> None:
    (problem,) = errors("  - block_ip: {ip: 192.0.2.9, ttl: 1h}", never="[office]")

    assert "192.0.2.9 is on the list `office`" in problem.text


@pytest.mark.parametrize("operand", ["198.51.100.3", "[198.51.100.3, 203.0.113.9]", "{cidr: 198.51.100.4/30}", "{list: home}"])
def test_a_field_that_match_holds_to_a_life_line_is_as_good_as_that_life_line(operand: str) -> None:
    when = FAILURES.replace("by:", f"match: {{src.ip: {operand}}}, by:")

    (problem,) = errors("  - block_ip: {ip: $src.ip, ttl: 1h}", when)

    assert "lies in 198.51.100.0/28" in problem.text or "contains" in problem.text
    assert problem.place.word == "$src.ip"


@pytest.mark.parametrize("operand", ["203.0.113.9", "{cidr: 198.51.100.0/24}", "{list: office}", "{not: 198.51.100.3}"])
def test_a_field_that_can_also_hold_others_is_left_to_the_guard(operand: str) -> None:
    when = FAILURES.replace("by:", f"match: {{src.ip: {operand}}}, by:")

    assert errors("  - block_ip: {ip: $src.ip, ttl: 1h}", when) == []


def test_forever_needs_a_person_who_knows_of_it_where_it_is_the_default_too() -> None:
    steps = "  - revoke_credentials: {userpass_user: bob}"

    assert len(errors(steps)) == 1
    assert errors(steps, more="recover: {after: manual}\n") == []


def test_an_action_whose_effect_nothing_would_end_is_refused() -> None:
    policies = proof("  - restart_service: {unit: nginx.service}").policies

    (problem,) = problems(policies, replace(ground(config(), KNOWN), endless=frozenset({"restart_service"})))

    assert "has no `ttl` to end it" in problem.text
    assert problem.place.word == "restart_service"


def test_a_policy_that_no_file_holds_is_named_instead() -> None:
    (policy,) = proof("  - restart_service: {unit: ssh.service}", FALCO).policies
    bare = replace(policy, place="", then=(replace(policy.then[0], places={}),))

    (problem,) = problems([bare], ground(config(), KNOWN))

    assert str(problem.place) == "p:1:1"


def test_no_action_on_the_shelf_leaves_something_in_force_without_an_end() -> None:
    assert ground(None, KNOWN).endless == frozenset()


def test_an_action_with_an_undo_and_no_ttl_is_seen_by_its_source() -> None:
    known = replace(KNOWN, actions={**KNOWN.actions, "leave": Leave})

    assert ground(None, known).endless == {"leave"}


def test_a_host_that_isolates_itself_unasked_while_nobody_is_let_in_is_unwise() -> None:
    steps = "  - isolate_host: {ttl: 1h}\n    approve: never"

    told = proof(steps, made=config(never_touch=(), keep_open={}, protected=())).problems

    assert [(one.level, "nobody who would still be let in" in one.text) for one in told] == [("warning", True)]
    assert proof(steps, made=config(protected=())).problems == ()


def test_without_an_agent_yaml_what_harms_any_host_is_refused() -> None:
    steps = "  - block_ip: {ip: 127.0.0.1, ttl: 1h}\n  - stop_service: {unit: ssh.service, ttl: 1h}\n"
    steps += "  - block_ip: {ip: 198.51.100.3, ttl: 1h}"
    policies, _ = read_policies({"p.yaml": f"{HEAD}{FAILURES}then:\n{steps}\n"}, KNOWN, wiring.parse)

    told = [one.text for one in problems(policies, ground(None, KNOWN))]

    assert len(told) == 2
    assert "127.0.0.1" in told[0]
    assert "ssh.service" in told[1]


def test_a_set_with_such_a_step_is_not_read_at_all_and_every_mistake_comes_at_once() -> None:
    files = {
        "a.yaml": f"{HEAD}{FAILURES}then:\n  - block_ip: {{ip: 10.0.0.1, ttl: 1h}}\n",
        "b.yaml": HEAD.replace("policy: p", "policy: q").replace("P2", "P9") + FAILURES + "then: []\n",
    }
    stands_on = ground(config(), KNOWN, [GATEWAY])

    with pytest.raises(Problems) as caught:
        read_policies(files, KNOWN, wiring.parse, lambda policies: problems(policies, stands_on))

    assert [(one.place.file, one.level) for one in caught.value.found if one.level == "error"] == [
        ("a.yaml", "error"),
        ("b.yaml", "error"),
    ]


def test_what_the_config_names_is_a_life_line_and_names_are_not_looked_up() -> None:
    lines = {str(one.network): one.why for one in configured(config())}

    assert lines == {
        "198.51.100.0/28": "never_touch in agent.yaml",
        "203.0.113.40/32": "PostgreSQL main in agent.yaml",
        "203.0.113.41/32": "Vault in agent.yaml",
        "203.0.113.42/32": "keep_open jump in agent.yaml",
    }


# Told -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "when", "sentence"),
    [
        (
            "block_ip: {ip: $src.ip, ttl: 1h x2 up to 7d}",
            FAILURES,
            "block_ip $src.ip: any address of auth.ssh.failure events (a stranger can bring only its own); mild;"
            " at most 20 per 10m and 2000 at once and 50% of the clients that are connected, for 1h to 7d each;"
            " never: 13 life-lines, the list office",
        ),
        (
            "lock_user: {user: $user, ttl: 1h}",
            FAILURES,
            "lock_user $user: any user of auth.ssh.failure events (a stranger can choose it); disruptive, and a person must say"
            " yes where a stranger could have written all that speaks for it; at most 20 per 10m and 2000 at once, for 1h each",
        ),
        (
            "isolate_container: {container: $container.id, ttl: 1h}",
            FALCO,
            "isolate_container $container.id: any container.id of falco.alert events (a stranger cannot choose it); disruptive;"
            " at most 20 per 10m and 2000 at once and 50% of the containers that run, for 1h each; never: `container registry`",
        ),
        (
            "stop_service: {unit: nginx.service, ttl: 1h}",
            FALCO,
            "stop_service nginx.service: that one alone; destructive, and a person must say yes;"
            " at most 20 per 10m and 2000 at once, for 1h; never: `unit postgresql*`",
        ),
        (
            "restart_service: {unit: nginx.service}",
            FALCO,
            "restart_service nginx.service: that one alone; disruptive; at most 20 per 10m, done once; never: `unit postgresql*`",
        ),
        (
            "rate_limit: {rps: 50, ports: [80, 443], ttl: 1h}",
            FALCO,
            "rate_limit: everybody who connects to port 80, 443; mild; at most 20 per 10m and 2000 at once, for 1h",
        ),
        (
            "isolate_host: {ttl: 1h}",
            FALCO,
            "isolate_host: this host; destructive, and a person must say yes;"
            " at most 20 per 10m and 2000 at once, for 5m unless a person confirms it, then for 1h",
        ),
        ("snapshot: {what: host}", FALCO, "snapshot: looks only; mild; nothing is changed, done once"),
    ],
)
def test_a_step_is_one_sentence(step: str, when: str, sentence: str) -> None:
    made = config(protected=("unit postgresql*", "container registry"))
    unless = "unless: {src.ip: {list: office}}\n" if "ssh" in when else ""

    (reach,) = proof(f"  - {step}", when, unless, made).reaches

    assert str(reach) == sentence


@pytest.mark.parametrize(
    ("ours", "all_", "most"),
    [
        ("20 per 10m", Limits(Rate(100, timedelta(minutes=10)), 50), "at most 20 per 10m and 50 at once"),
        ("200 per 10m", Limits(Rate(100, timedelta(hours=1)), 50), "at most 100 per 1h (agent.yaml) and 50 at once"),
        ("20 per 10m", Limits(Rate(100, timedelta(hours=1))), "at most 20 per 10m and 100 per 1h (agent.yaml)"),
    ],
)
def test_the_tighter_bound_is_told_and_both_where_neither_is(ours: str, all_: Limits, most: str) -> None:
    text = f"{HEAD.replace('20 per 10m', ours)}{FAILURES}then:\n  - block_ip: {{ip: $src.ip, ttl: 1h}}\n"
    policies, _ = read_policies({"p.yaml": text}, KNOWN, wiring.parse)

    (reach,) = prove(policies, ground(config(limits=all_), KNOWN)).reaches

    assert reach.most == most


def test_a_stranger_chooses_no_field_on_which_an_event_must_agree_that_he_cannot_write() -> None:
    parts = "{event: auth.ssh.success}, {event: falco.alert}"
    agreed = f"when: {{by: user, within: 30m, sequence: [{parts}]}}\n"
    loose = f"when: {{by: src.ip, within: 30m, sequence: [{parts}]}}\n"

    chosen = [proof("  - lock_user: {user: $user, ttl: 1h}", when).reaches[0].chosen for when in (agreed, loose)]

    assert chosen == ["nobody", "stranger"]


def test_what_is_done_beyond_the_limit_is_proven_too() -> None:
    text = "policy: p\nseverity: P2\nowner: sre\nguard: {max: 20 per 10m, approve: above 9 per 10m, overflow: [%s]}\n" + FAILURES
    steps = ["{rate_limit: {rps: 50, ports: [80], per: all, ttl: 1h}}", "{rate_limit: {rps: 2, per: all, ttl: 1h}}"]
    files = {name: text % step + "then: [{block_ip: {ip: $src.ip, ttl: 1h}}]\n" for name, step in zip("ab", steps, strict=True)}
    files["b"] = files["b"].replace("policy: p", "policy: q")
    policies, _ = read_policies(files, KNOWN, wiring.parse)

    told = prove(policies, ground(config(), KNOWN))

    assert "overflow: rate_limit: everybody who connects to port 80; mild; once for all targets" in str(told.reaches[1])
    assert [(one.place.file, one.place.word) for one in told.problems] == [("b", "2")]


def test_the_summary_counts_policies_by_whom_they_can_reach() -> None:
    def named(name: str, when: str, *steps: str) -> str:
        return HEAD.replace("policy: p", f"policy: {name}") + when + f"then: [{', '.join(f'{{{one}}}' for one in steps)}]\n"

    block = "block_ip: {ip: $src.ip, ttl: 1h}"
    files = {
        "a": named("a", FAILURES, block, "block_ip: {ip: $src.ip, ttl: 2h}"),
        "b": named("b", FAILURES, "lock_user: {user: $user, ttl: 1h}"),
        "c": named("c", FALCO, "stop_service: {unit: nginx.service, ttl: 1h}"),
        "d": named("d", FALCO),
    }
    policies, _ = read_policies(files, KNOWN, wiring.parse)

    summary = prove(policies, ground(config(), KNOWN)).summary()

    assert summary == (
        "4 policies: none can reach a life-line, and every step has an end; 1 can act on an address that a stranger comes from;"
        " 1 on what a stranger can choose, disruptive only; 2 wait for a person; 1 only tell"
    )


def test_every_policy_we_ship_is_proven() -> None:
    files = {one.name: one.read_text() for one in sorted((Path(__file__).parent.parent / "policies").glob("*.yaml"))}
    policies, _ = read_policies(files, KNOWN, wiring.parse)

    told = prove(policies, ground(None, KNOWN))

    assert told.problems == ()
    assert not [one for one in told.reaches if one.chosen == "stranger" and one.impact != "mild"]
    assert len(told.reaches) == sum(len(one.then) + len(one.guard.overflow) for one in policies)


def test_what_a_report_leads_to_waits_for_a_person_even_where_it_is_mild() -> None:
    (reach,) = proof("  - block_ip: {ip: $src.ip, ttl: 1h}", when="when: {event: report, by: src.ip}\n").reaches

    assert "and a person must say yes" in str(reach)


def test_a_limit_on_a_port_that_an_event_names_says_so() -> None:
    when = "when: {event: net.udp, match: {full_rate: {gt: 1000}}, for: 3 of 5, by: port}\n"
    (reach,) = proof("  - rate_limit: {port: $port, per: all, rps: 10000, ttl: 10m}", when=when).reaches

    assert "everybody who connects to port $port" in str(reach)
