"""docs/reference/policies.md: every key of a policy, from the classes that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.event import COMMON
from agent.grammar import policy_keys, policy_people
from agent.grammar.policy_match import MEANINGS, SAID
from agent.reference.keys import MADE, Section, contents, keys_table, section, values
from agent.reference.words import code, fenced, prose, table
from agent.watching import policy_test_files

SHIPPED: Final = "ssh_brute_force.yaml"
_HEAD: Final = """\
A policy is a YAML file of its own, one threat each, in the directories that `policies:` of [agent.yaml](agent-yaml.md) names.
This one is shipped:
"""
_TOOLS: Final = """\
`contain policy check` finds every mistake, `contain policy test` runs the examples, `contain policy prove` says whom a step could
reach, and `contain policy schema` prints the JSON Schema for editors.
"""
_CLAUSES: Final = "A list of clauses under `when` fires as soon as any one of them holds.\n"
_PARTS: Final = "Parts stand in a list under `sequence`; `by` and `within` stand beside it.\n"
_STEPS: Final = """\
Each step is one action with its parameters, and these options beside it: [actions](actions.md). A parameter is a value, or `$`
and a field of the event (`$src.ip`), which must fit its type: that is checked when the file is read, and it never becomes part of
a text.
"""
_MAPS: Final = """\
`match` and `unless` are maps of a field to a value, to a list of values, or to an operator. All lines of a `match` must hold; one
line of `unless` is enough. A field is of one of these types: {types}. Every event has {common}.
"""
_TESTS: Final = "Tests of several policies stand in files of their own, which `contain policy test` runs too.\n"
_OWN: Final = (
    ("`at`", "duration", "when it comes, from the start of the example", "`90s`"),
    ("`repeat`", "text", "so often, and how far apart; `#` in a value counts them", "`12 every 10s`"),
    ("`event`", "text", "its [kind](events.md); then each field of that kind is a key", "`auth.ssh.failure`"),
    ("`log`", "text", "or a raw line instead of `event` and fields", '`"Nov 23 06:00:01 db1 sshd[812]: …"`'),
    ("`parser`", "text", "what reads that line; needed with `log`", "`sshd`"),
)
SECTIONS: Final = (
    Section("A policy", policy_keys.PolicyKeys),
    Section("when", policy_keys.ClauseKeys, _CLAUSES),
    Section("sequence", policy_keys.PartKeys, _PARTS),
    Section("then", policy_keys.StepOptions, _STEPS),
    Section("guard", policy_keys.GuardKeys),
    Section("recover", policy_keys.RecoverKeys),
    Section("escalate", policy_people.EscalateKeys, "Steps stand in a list, at most ten.\n"),
    Section("incident", policy_people.IncidentKeys),
    Section("examples", policy_keys.ExampleKeys),
)
TEST_FILES: Final = (policy_test_files.FileKeys, policy_test_files.TestKeys, policy_test_files.ExpectKeys)


def policies(shelf: Path) -> str:
    """The whole page. `shelf` has the shipped policies, of which one is the example."""
    shipped = fenced((shelf / SHIPPED).read_text(encoding="utf-8"), "yaml")
    others = {"Events of examples": _events(), "Lines of field: value": _maps(), "Files of tests": _tests()}
    head = f"# Policies: every key\n\n{MADE}\n{_HEAD}\n{shipped}\n{_TOOLS}\n"
    body = "".join(f"{section(one)}\n" for one in SECTIONS)
    more = "\n".join(f"## {title}\n\n{text}" for title, text in others.items())
    return f"{head}{contents([*(one.title for one in SECTIONS), *others])}\n{values()}\n{body}{more}"


def _events() -> str:
    rows = table(("key", "type", "meaning", "example"), _OWN)
    return f"Each entry of `events` under `examples` has these keys:\n\n{rows}"


def _maps() -> str:
    rows = ((code(name), meaning, code(written)) for name, (meaning, written) in MEANINGS.items())
    types = ", ".join(f"{name} ({said})" for name, said in SAID.items())
    said = _MAPS.format(types=types, common=" and ".join(map(code, COMMON)))
    return f"{said}\n{table(('operator', 'holds for', 'example'), rows)}"


def _tests() -> str:
    tables = "\n".join(f"{prose(one)}\n{keys_table(one)}" for one in TEST_FILES)
    return f"{_TESTS}\n{tables}"
