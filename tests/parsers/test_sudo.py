"""sudo's lines: who ran what as whom, and who was refused."""

from __future__ import annotations

import pytest

from agent.streams.parser import Said, Scan, discover_parsers


def read(text: str) -> Said | None:
    return discover_parsers()["sudo"].read(text)


def test_a_command_says_who_ran_what_as_whom() -> None:
    said = read("   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/apt update")

    assert said is not None
    assert said.kind == "auth.sudo.command"
    assert said.fields == {"user": "alice", "tty": "pts/0", "as": "root", "command": "/usr/bin/apt update"}


@pytest.mark.parametrize(
    ("why", "attempts"),
    [
        ("3 incorrect password attempts", 3),
        ("1 incorrect password attempt", 1),
        ("user NOT in sudoers", 1),
        ("command not allowed", 1),
        ("a password is required", 1),
    ],
)
def test_a_refusal_says_why_and_how_often(why: str, attempts: int) -> None:
    said = read(f"     bob : {why} ; TTY=pts/1 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/bash")

    assert said is not None
    assert said.kind == "auth.sudo.failure"
    assert (said.fields["user"], said.fields["reason"], said.fields["attempts"]) == ("bob", why, attempts)


def test_a_directorys_name_cannot_change_who_it_was() -> None:
    said = read("eve : TTY=pts/0 ; PWD=/tmp/a : TTY=pts/9 ; USER=alice ; USER=root ; COMMAND=/bin/ls")

    assert said is not None
    assert (said.fields["user"], said.fields["tty"]) == ("eve", "pts/0")


def test_a_semicolon_in_the_command_stays_in_the_command() -> None:
    said = read("eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c a ; USER=bob ; COMMAND=b")

    assert said is not None
    assert said.fields["command"] == "/bin/sh -c a ; USER=bob ; COMMAND=b"
    assert said.fields["as"] == "root"


@pytest.mark.parametrize(
    "text",
    [
        "pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=1000)",
        "pam_unix(sudo:auth): authentication failure; logname=bob uid=1000 euid=0 tty=/dev/pts/1 ruser=bob rhost=  user=bob",
        "unable to resolve host db1",
        "",
        " : COMMAND=",
    ],
)
def test_what_is_no_command_gives_nothing(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("tag", ["sudo:", "sudo[812]:"])
def test_both_spellings_of_the_tag_are_found_in_a_file(tag: str) -> None:
    scan = Scan.of([discover_parsers()["sudo"]], "file:x")
    line = f"Nov 23 06:00:02 db1 {tag}    alice : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/usr/bin/id\n"

    found = scan.events(line.encode(), 1795413700.0)

    assert [event.fields["user"] for event in found] == ["alice"]
