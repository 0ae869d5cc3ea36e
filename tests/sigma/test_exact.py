"""A policy says of every event what its Sigma rule says: random rules and events, held against Sigma's own words."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, Final

import yaml

from agent.event import Catalogue, Event
from agent.grammar.policy_reader import read_policies
from agent.policy import Policy
from agent.sigma.carry import Made, Refused, policies
from agent.streams.declared import declared
from agent.watching.watch import Watch

KIND: Final = "intake.refused"
"""A kind with a field of every type, each of which may be absent."""
KNOWN: Final = Catalogue(declared(), {})
TEXTS: Final = (
    "a",
    "aB",
    "B*",
    "*b",
    "*a*",
    "a*b",
    "a?1",
    r"\*",
    r"a\?",
    r"\\a",
    r"a\b",
    "1",
    "*1?",
    "",
    "*",
    "?",
    "a*b*1",
    "[a",
    "Ä*",
)
EXPRESSIONS: Final = ("^a", "b$", "a.b", "A|1b", "(?i)ab?", r"\d", "[^a]b", "a{2}")
ADDRESSES: Final = ("10.0.0.1", "10.1.2.3", "192.0.2.7", "2001:db8::7")
NETWORKS: Final = ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32")


# Sigma, as its specification says it -------------------------------------------------------------------------------------


def like(pattern: str, text: str) -> bool:
    """`*` and `?`, and a backslash before them or before another makes them characters."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(like(pattern[1:], text[at:]) for at in range(len(text) + 1))
    if pattern[0] == "?":
        return bool(text) and like(pattern[1:], text[1:])
    if pattern[0] == "\\" and pattern[1:2] and pattern[1] in r"\*?":
        pattern = pattern[1:]
    return text[:1] == pattern[0] and like(pattern[1:], text[1:])


def one(value: Any, wanted: Any, modifiers: list[str]) -> bool:
    if "exists" in modifiers:
        return bool((value is not None) == wanted)
    if wanted is None or value is None:
        return wanted is None and value is None
    if "re" in modifiers:
        return re.search(wanted, value, re.IGNORECASE if "i" in modifiers else 0) is not None
    if "cidr" in modifiers:
        return ip_address(value) in ip_network(wanted)
    for name, compare in {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}.items():
        if name in modifiers:
            return bool(compare(value, wanted))
    if not isinstance(wanted, str):
        return bool(value == wanted)
    pattern = ("*" * ({"contains", "endswith"} & {*modifiers} != set())) + wanted
    pattern += "*" * ({"contains", "startswith"} & {*modifiers} != set())
    return like(pattern, value) if "cased" in modifiers else like(pattern.lower(), value.lower())


def selection(wanted: Any, event: Mapping[str, Any]) -> bool:
    if isinstance(wanted, list):
        return any(selection(each, event) for each in wanted)
    told = []
    for key, values in wanted.items():
        name, *modifiers = key.split("|")
        each = [one(event.get(name), value, modifiers) for value in (values if isinstance(values, list) else [values])]
        told.append(all(each) if "all" in modifiers else any(each))
    return all(told)


def condition(tree: Any, detection: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    match tree:
        case "not", inside:
            return not condition(inside, detection, event)
        case "and", left, right:
            return condition(left, detection, event) and condition(right, detection, event)
        case "or", left, right:
            return condition(left, detection, event) or condition(right, detection, event)
        case "1 of s*":
            return any(selection(detection[name], event) for name in detection if name.startswith("s"))
        case "all of them":
            return all(selection(each, event) for each in detection.values())
    return selection(detection[tree], event)


# Random rules and events --------------------------------------------------------------------------------------------------


def _values(rng: random.Random, choose: Any, least: int = 1) -> Any:
    found = list(dict.fromkeys(choose() for _ in range(rng.randint(least, 3))))
    return found if len(found) > 1 or rng.random() < 0.3 else found[0]


def item(rng: random.Random) -> tuple[str, Any]:
    name = rng.choice(("sender", "sender", "reason", "uid", "known", "src.ip"))
    if rng.random() < 0.1:
        return rng.choice(((f"{name}|exists", rng.random() < 0.5), (name, None)))
    if name == "uid":
        operator = rng.choice(("", "", "gt", "gte", "lt", "lte"))
        number = rng.randint(0, 3)
        return (f"uid|{operator}", number) if operator else ("uid", _values(rng, lambda: rng.randint(0, 3)))
    if name == "known":
        return name, rng.random() < 0.5
    if name == "src.ip":
        inside = rng.random() < 0.5
        return ("src.ip|cidr" if inside else name), _values(rng, lambda: rng.choice(NETWORKS if inside else ADDRESSES))
    if rng.random() < 0.2:
        return f"{name}|re{rng.choice(('', '|i'))}", _values(rng, lambda: rng.choice(EXPRESSIONS))
    operator = rng.choice(("", "|contains", "|startswith", "|endswith"))
    key = name + operator + rng.choice(("", "", "|cased"))
    values = _values(rng, lambda: rng.choice([each for each in TEXTS if each or not operator]))
    return (f"{key}|all" if isinstance(values, list) and len(values) > 1 and rng.random() < 0.4 else key), values


def detections(rng: random.Random) -> dict[str, Any]:
    def fields() -> dict[str, Any]:
        return dict(item(rng) for _ in range(rng.randint(1, 2)))

    return {name: fields() if rng.random() < 0.8 else [fields(), fields()] for name in ("s1", "s2", "f")}


def conditions(rng: random.Random, depth: int = 3) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(("s1", "s2", "f", "s1", "1 of s*", "all of them"))
    if kind < 0.5:
        return "not", conditions(rng, depth - 1)
    return rng.choice(("and", "and", "or")), conditions(rng, depth - 1), conditions(rng, depth - 1)


def written(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    return f"not ({written(tree[1])})" if tree[0] == "not" else f"({written(tree[1])}) {tree[0]} ({written(tree[2])})"


def event(rng: random.Random) -> dict[str, Any]:
    def text() -> str:
        return "".join(rng.choice("aAbB1*?\\[ä\n") for _ in range(rng.randint(0, 4)))

    made = {
        "sender": text(),
        "reason": text(),
        "uid": rng.randint(0, 3),
        "known": rng.random() < 0.5,
        "src.ip": rng.choice(ADDRESSES),
    }
    return {name: value for name, value in made.items() if rng.random() < 0.8}


def rule(detection: Mapping[str, Any], said: str, **more: Any) -> dict[str, Any]:
    return {"title": "Random", "logsource": {"service": KIND}, "detection": {**detection, "condition": said}, **more}


def carried(*documents: Mapping[str, Any]) -> list[Made | Refused]:
    return policies({"random.yml": yaml.safe_dump_all(documents, allow_unicode=True)}, KNOWN)


def read(made: Made) -> Policy:
    (policy,), _ = read_policies({made.policy: made.text}, KNOWN)
    return replace(policy, mode="enforce")


def test_a_policy_says_of_every_event_what_its_rule_says() -> None:
    rng = random.Random(7)
    refused, fired = [], 0
    for _ in range(250):
        detection, tree = detections(rng), conditions(rng)
        (found,) = carried(rule(detection, written(tree)))
        if isinstance(found, Refused):
            refused += [problem.text for problem in found.problems]
            continue
        watch = Watch([read(found)], {})
        for fields in (event(rng) for _ in range(60)):
            hits = [hit for hit in watch.feed(Event(KIND, 0.0, fields), 0.0) if not hit.unless]

            wanted = condition(tree, detection, fields)
            assert bool(hits) == wanted, f"{fields}\n{yaml.safe_dump(detection)}\n{written(tree)}\n{found.text}"
            fired += wanted

    assert fired > 2000
    known = ("this can never be true", "this makes more than 64", "`src.ip` in and out of networks", "what is asked of `")
    assert [text for text in refused if not text.startswith(known)] == []
    assert len(refused) < 50


def test_a_count_fires_at_the_same_events_as_sigmas_sliding_window() -> None:
    rng = random.Random(11)
    fired = 0
    for _ in range(80):
        wanted, least, span, distinct = rng.choice(("a*", "*b")), rng.randint(1, 4), rng.randint(5, 60), rng.random() < 0.5
        counted = {"field": "reason", "gte": least} if distinct else {"gt": least - 1}
        of = {
            "type": "value_count" if distinct else "event_count",
            "rules": ["base"],
            "timespan": f"{span}s",
            "condition": counted,
        }
        base = rule({"s": {"sender": wanted}}, "s", name="base")
        (found,) = carried(base, {"title": "Counted", "correlation": {**of, "group-by": ["src.ip"]}})
        assert isinstance(found, Made), found
        watch, seen, now = Watch([read(found)], {}), [], 0.0
        for fields in (event(rng) for _ in range(60)):
            now += rng.randint(0, 12)
            hits = watch.feed(Event(KIND, now, fields), now)

            mine = selection({"sender": wanted}, fields) and "src.ip" in fields and (not distinct or "reason" in fields)
            seen += [(now, fields)] if mine else []
            group = [one for at, one in seen if at >= now - span and one["src.ip"] == fields.get("src.ip")]
            number = len({one["reason"] for one in group}) if distinct else len(group)
            assert bool(hits) == (mine and number >= least), found.text
            fired += bool(hits)

    assert fired > 90
