"""The man pages, in man(7): contain.1 of the commands' own help, containment-agent.8 of the service, agent.yaml.5 of its keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import click

from agent import __version__
from agent.cli.ask import SYSTEM_CONFIG
from agent.cli.given import Common
from agent.grammar.typed import supported
from agent.reference.agent_page import SECTIONS
from agent.reference.commands import ENDS, common, walk
from agent.reference.words import default, example, first, kind

_FILES: Final = (
    ("/etc/containment-agent/agent.yaml", "what is watched, asked and never touched: agent.yaml(5)"),
    ("/etc/containment-agent/policies/", "one YAML file for each threat; contain policy check finds every mistake"),
    ("/run/containment-agent/agent.sock", "where the agent listens for contain(1); root and the group containment may use it"),
    ("/var/lib/containment-agent/journal.db", "the journal: evidence and state at once; contain evidence verify"),
    ("/var/lib/containment-agent/evidence/", "what was seen before each act"),
    ("/run/containment-agent/", "the undo of what is in force, and evidence that no disk took"),
)
_VARIABLES: Final = (
    ("CONTAIN_CONFIG", "the agent.yaml, where --config names none"),
    ("CONTAIN_SOCKET", "the agent's control socket, where --socket names none"),
    ("NO_COLOR", "no colours"),
    ("EDITOR, VISUAL", "what contain postmortem --edit opens"),
)
_SIGNALS: Final = (
    (
        "SIGHUP",
        "read the policies and agent.yaml again; with a mistake in them, those of before stay. contain reload answers with it",
    ),
    ("SIGTERM, SIGINT", "let the act that is under way end, write down how, and stop; what is in force stays in force"),
    ("SIGABRT", "sent by systemd where the agent hangs: the stack of every thread goes to the journal, and it is started again"),
)
_CONTAIN: Final = """\
It asks and orders the agent that runs on this host, containment-agent(8), over its control socket. Some commands need none:
init, doctor, do --dry-run, policy, evidence. Output is for people on a terminal, tab-separated in a pipe, and one JSON document
with --json.
"""
_YAML: Final = """\
One YAML document. contain init writes one for this host, contain config show says what holds and where it comes from, contain
doctor what is missing. Every mistake is told at once, with its line and the mend; with a mistake in it, a reload changes nothing.

Durations are written as 90s, 10m, 2h, 7d; sizes as 256MiB. Each type of sensor, check, sender and channel has keys of its own:
reference/agent-yaml.md and reference/checks.md among the documents of the package.
"""
_AGENT: Final = """\
The agent reads logs and counters, asks its checks, matches what comes against policies, and contains what they find: each step is
planned, judged by the guard, written down, carried out, and read back from the system. It begins in dry run: nothing is changed
until agent.yaml or `contain policy mode` says enforce.

It runs as the user containment with CAP_NET_ADMIN alone. What needs more is a drop-in, put into
/etc/systemd/system/containment-.service.d; `contain doctor` says which.
"""
_EXPIRE: Final = """\
`containment-expire.timer` ends what is due while the agent is dead. `containment-restore.service` puts blocks back at boot,
before anything opens its port. Where the agent is dead, blocks, limits and the isolation of the host end by themselves, in
the kernel.
"""


def contain() -> str:
    """contain.1."""
    return _page(
        "CONTAIN",
        1,
        ("NAME", _line("contain - give orders to the containment agent of this host, and ask it")),
        ("SYNOPSIS", ".B contain\n.I COMMAND\n[\\fIOPTIONS\\fR]\n[\\fIARGUMENTS\\fR]\n"),
        ("DESCRIPTION", _text(_CONTAIN)),
        ("OPTIONS OF EVERY COMMAND", _tagged((_bold(words), about) for words, about in common())),
        ("COMMANDS", "".join(_command(path, command) for path, command in walk())),
        ("EXIT STATUS", _tagged((_bold(str(int(one))), said) for one, said in ENDS.items())),
        ("ENVIRONMENT", _tagged((_bold(name), about) for name, about in _VARIABLES)),
        ("FILES", _tagged((_bold(name), about) for name, about in _FILES)),
        ("SEE ALSO", _line("agent.yaml(5), containment-agent(8), systemd(1), nft(8)")),
    )


def _command(path: tuple[str, ...], command: click.Command) -> str:
    if isinstance(command, click.Group):
        return f".SS {_escaped(' '.join(path))}\n{_text(command.help or '')}"
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join(command.collect_usage_pieces(context))
    own = [one for one in command.params if isinstance(one, click.Option) and not isinstance(one, Common)]
    options = [record for one in own if (record := one.get_help_record(context))]
    examples = "".join(f"{_escaped(one)}\n" for one in getattr(command, "examples", ()))
    shown = f".PP\n.nf\n.RS\n{examples}.RE\n.fi\n" if examples else ""
    head = f".SS {_escaped(' '.join((*path, usage)))}\n"
    return head + _text(command.help or "") + _tagged((_bold(words), about) for words, about in options) + shown


def service(units: Path) -> str:
    """containment-agent.8. `units` is systemd/, whose drop-ins say themselves what each is for."""
    drop_ins = ((_bold(file.name), _why(file)) for file in sorted((units / "dropins").glob("*.conf")))
    return _page(
        "CONTAINMENT-AGENT",
        8,
        ("NAME", _line("containment-agent - watches this host, decides by policies, contains")),
        ("SYNOPSIS", _line("containment-agent.service")),
        ("DESCRIPTION", _text(_AGENT) + _text(_EXPIRE)),
        ("SIGNALS", _tagged((_bold(name), about) for name, about in _SIGNALS)),
        ("DROP-INS", _tagged(drop_ins)),
        ("FILES", _tagged((_bold(name), about) for name, about in _FILES)),
        ("SEE ALSO", _line("contain(1), agent.yaml(5), systemd.service(5)")),
    )


def _why(file: Path) -> str:
    """The comment that a drop-in begins with, without its commands and columns."""
    comment = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    lines = [line[1:].strip() for line in comment]
    return " ".join(line for line in lines if not line.startswith("sudo") and "  " not in line)


def agent_yaml() -> str:
    """agent.yaml.5."""
    sections = "".join(f".SS {_escaped(one.title)}\n{_text(first(one.cls))}{_keys(one.cls)}" for one in SECTIONS)
    return _page(
        "AGENT.YAML",
        5,
        ("NAME", _line("agent.yaml - what the containment agent watches, asks, and must never touch")),
        ("SYNOPSIS", _line(str(SYSTEM_CONFIG))),
        ("DESCRIPTION", _text(_YAML)),
        ("KEYS", sections),
        ("SEE ALSO", _line("contain(1), containment-agent(8)")),
    )


def _keys(cls: type[Any]) -> str:
    def rows() -> Iterator[tuple[str, str]]:
        for key in supported(cls).values():
            said = default(key)
            tail = {"needed": "; needed", "": ""}.get(said, f"; {said} where nothing is said")
            yield _bold(f"{key.name}: {example(key)}"), f"{key.about} ({kind(key)}{tail})"

    return _tagged(rows())


# man(7) -----------------------------------------------------------------------------------------------------------------


def _page(name: str, section: int, *parts: tuple[str, str]) -> str:
    head = f'.\\" Made by `make docs` of the code; write there.\n.TH {name} {section} "" "containment-agent {__version__}"\n'
    return head + "".join(f".SH {title}\n{text}" for title, text in parts)


def _escaped(text: str) -> str:
    """Text that is taken as it stands; hyphens stay such that options can be copied."""
    bare = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq").replace("`", "")
    return re.sub(r"^([.'])", r"\\&\1", bare, flags=re.MULTILINE)


def _line(text: str) -> str:
    return f"{_escaped(text)}\n"


def _bold(text: str) -> str:
    return f".B {_escaped(text)}\n"


def _text(text: str) -> str:
    """Paragraphs; a blank line parts two of them."""
    parts = [" ".join(one.split()) for one in re.split(r"\n\s*\n", text.strip())]
    return "".join(f".PP\n{_escaped(one)}\n" for one in parts if one)


def _tagged(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f".TP\n{tag}{_escaped(' '.join(about.split()))}\n" for tag, about in rows)
