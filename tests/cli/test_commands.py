"""The command line as people meet it, without an agent: help, mistakes, exit codes, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent import __version__
from agent.cli.commands import contain as root
from agent.cli.ends import Exit
from agent.cli.given import Verb
from tests.cli.command import CONTAIN, at_terminal, contain, environment


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(root))


def test_there_is_a_command_for_everything_an_operator_does() -> None:
    names = {" ".join(path) for path in ALL}

    assert names >= {"run", "status", "do", "block", "limit", "undo", "why", "resume", "reload", "doctor", "init"}
    assert names >= {"pause begin", "pause list", "silence begin", "silence list", "silence end"}
    assert names >= {f"policy {one}" for one in ("check", "test", "explain", "schema", "list", "mode")}
    assert names >= {f"evidence {one}" for one in ("verify", "export", "show")}
    assert names >= {f"events {one}" for one in ("list", "tail", "kinds", "show")}
    assert names >= {"check run", "check list", "mitigations show", "incidents show", "completion"}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_says_what_it_is_for_and_how_it_is_used(path: tuple[str, ...]) -> None:
    command = ALL[path]

    assert isinstance(command, Verb)
    assert command.help
    assert command.examples
    assert all(one.startswith(f"contain {path[0]}") for one in command.examples)


def test_help_shows_the_examples_and_the_options_of_every_command() -> None:
    said = contain("block", "--help")

    assert said.code == Exit.DONE
    assert "$ contain block 203.0.113.7 --for 1h --dry-run" in said.out
    assert "--json" in said.out.partition("Options of every command:")[2]


def test_the_help_of_do_names_every_action_with_its_parameters() -> None:
    said = contain("do", "--help").out

    assert "\n  block_ip ip=… ttl=… [ports=…]\n" in said
    assert "\n  rate_limit rps=… ttl=…" in said


def test_the_version_is_told() -> None:
    assert contain("--version").out == f"containment-agent {__version__}\n"


# The likeliest mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "wanted"),
    [
        ("blok 203.0.113.7", Exit.USAGE, "Did you mean 'block'?"),
        ("status --jsn", Exit.USAGE, "Did you mean '--json'?"),
        ("status", Exit.UNREACHABLE, "Start it with `contain run`"),
        ("status --watch", Exit.USAGE, "stdout is no terminal"),
        ("block 203.0.113.7", Exit.USAGE, "Example: contain block 203.0.113.7 --for 1h"),
        ("block 203.0.113.7/33 --for 1h --dry-run", Exit.USAGE, "neither an address nor a network"),
        ("block 203.0.113.5/24 --for 1h --dry-run", Exit.USAGE, "write 203.0.113.0/24"),
        ("block 203.0.113.7 --for 1hour --dry-run", Exit.USAGE, "`1hour` is not a duration; use a number and ms, s, m, h or d"),
        ("limit --rps 5 --for 1h", Exit.USAGE, "Name an address (--ip), ports (--ports) or a service (--service)."),
        ("limit --service nothere --rps 5 --for 1h --dry-run", Exit.FAILED, "/etc/services has no such name"),
        ("limit --service https --rps fast --for 1h --dry-run", Exit.USAGE, "rps: "),
        ("do blockip ip=203.0.113.7 ttl=1h --dry-run", Exit.USAGE, "Did you mean `block_ip`?"),
        ("do block_ip 203.0.113.7 --dry-run", Exit.USAGE, "Write NAME=VALUE"),
        ("do block_ip ip=203.0.113.7 --dry-run", Exit.USAGE, "block_ip needs `ttl`"),
        ("do block_ip ip=203.0.113.7 ttl=1h", Exit.USAGE, "a person's order needs a reason"),
        ("undo", Exit.USAGE, "Example: contain undo 203.0.113.7 --plan"),
        ("undo M-1", Exit.UNREACHABLE, "cannot reach the agent"),
        ("pause --for 30 --why x", Exit.USAGE, "use a number and s, m, h or d"),
        ("pause --for 30m", Exit.USAGE, "--why"),
        ("policy chek", Exit.USAGE, "'check'"),
        ("policy check nowhere.yaml", Exit.USAGE, "there is no such file or directory"),
        ("policy check", Exit.USAGE, "contain init"),
        ("policy mode x armed", Exit.USAGE, "'enforce'"),
        ("policy explain", Exit.USAGE, "name one of an incident, --log LINE with --parser, or --event JSON"),
        ("check run", Exit.USAGE, "/nowhere/agent.yaml: there is no such file"),
        ("evidence verify --db /nowhere/journal.db --vkey x", Exit.FAILED, "cannot read the journal /nowhere/journal.db"),
        ("evidence show -- -1", Exit.USAGE, "-1 is not in the range"),
        ("run", Exit.USAGE, "contain init"),
        ("completion tcsh", Exit.USAGE, "'fish'"),
    ],
)
def test_a_mistake_ends_with_its_exit_code_and_says_how_to_mend_it(line: str, code: Exit, wanted: str) -> None:
    said = contain(*shlex.split(line))

    assert (said.code, said.out) == (code, "")
    assert wanted in said.err
    assert "Traceback" not in said.err


# The dry run of an action ---------------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_very_calls_and_needs_no_agent() -> None:
    said = contain("block", "203.0.113.7", "--for", "1h", "--dry-run")

    assert said.code == Exit.DONE
    assert said.out.startswith("would drop every packet from and to 203.0.113.7 for 1h\n")
    assert "nft add element inet containment hosts4 { 203.0.113.7 timeout 1h }" in said.out
    assert "guard\tok\twithin every limit\n" in said.out


def test_a_dry_run_of_what_the_guard_forbids_is_refused() -> None:
    said = contain("block", "127.0.0.1", "--for", "1h", "--dry-run")

    assert said.code == Exit.REFUSED
    assert "guard\trefused\t127.0.0.1 is a life-line" in said.out


def test_a_dry_run_can_be_asked_whether_anything_would_change() -> None:
    assert contain("block", "203.0.113.7", "--for", "1h", "--dry-run", "--exit-code").code == Exit.FOUND


def test_a_dry_run_as_json_holds_the_native_words() -> None:
    said = contain("do", "rate_limit", "service=https", "rps=20", "ttl=30m", "--dry-run", "--json")

    document = json.loads(said.out)
    assert (document["v"], document["kind"]) == (1, "plan")
    assert document["items"][0]["allowed"] is True
    assert document["items"][0]["changes"][0]["apply"]["native"].startswith("nft add element inet containment ")


def test_whoever_is_logged_in_learns_whether_it_would_hit_him() -> None:
    said = contain(
        "block", "198.51.100.0/24", "--for", "1h", "--dry-run", env={"SSH_CONNECTION": "198.51.100.4 50000 192.0.2.1 22"}
    )

    assert "you\tbad\t198.51.100.4, your own connection, would be affected" in said.out


# Output ---------------------------------------------------------------------------------------------------------------


def test_a_terminal_gets_colour_and_a_pipe_does_not() -> None:
    line = ("block", "203.0.113.7", "--for", "1h", "--dry-run")

    assert "\x1b[32mok" in at_terminal(*line).out
    assert "\x1b" not in contain(*line).out


@pytest.mark.parametrize("wish", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(wish: dict[str, str]) -> None:
    said = at_terminal("block", "203.0.113.7", "--for", "1h", "--dry-run", env=wish)

    assert "guard   ok" in said.out
    assert "\x1b" not in said.out


def test_a_reader_that_stops_early_ends_it_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [*CONTAIN, "policy", "schema"], stdout=writing, stderr=subprocess.PIPE, env=environment(), timeout=30, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (Exit.FAILED, b"")


def test_the_schema_of_policies_is_json() -> None:
    assert json.loads(contain("policy", "schema").out)["$schema"].startswith("http://json-schema.org/draft-07")


# Completion -----------------------------------------------------------------------------------------------------------


def completed(line: str) -> list[str]:
    words = shlex.split(line)
    env = {"_CONTAIN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - (not line.endswith(" ")))}
    return [one.partition(",")[2] for one in contain(env=env).out.splitlines()]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("contain st", ["status"]),
        ("contain policy ch", ["check"]),
        ("contain do block_i", ["block_ip"]),
        ("contain status --exi", ["--exit-code"]),
        ("contain policy mode x dr", ["dry_run"]),
        ("contain undo ", ["all"]),
    ],
)
def test_commands_options_and_actions_complete_without_an_agent(line: str, found: list[str]) -> None:
    assert completed(line) == found


def test_completing_a_name_does_not_wait_for_an_agent_that_hangs(tmp_path: Path) -> None:
    place = tmp_path / "agent.sock"
    env = {"_CONTAIN_COMPLETE": "bash_complete", "COMP_WORDS": "contain undo ", "COMP_CWORD": "2", "CONTAIN_SOCKET": str(place)}
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place))
        deaf.listen()

        started = time.monotonic()
        said = contain(env=env)

    assert said.out == "plain,all\n"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    said = contain("completion", shell)

    assert said.code == Exit.DONE
    assert re.search(rf"_CONTAIN_COMPLETE={shell}_complete", said.out)
