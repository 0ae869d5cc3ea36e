"""`contain config`: every setting that holds, where it comes from, and what the running agent goes by."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli import ask
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, Verb
from agent.cli.show import At, Cell, Ink

if TYPE_CHECKING:
    from agent.support.settings import Setting

SOON: Final = 5.0
"""Seconds a running agent has to answer."""
_RELOAD: Final = "changed on disk since the last reload: contain reload"
_START: Final = "changed on disk; counts from the next start of the agent"
_EXAMPLES: Final = ("contain config show", "contain config show limits", "contain config show --yaml", "contain config --json")


@click.group(cls=Noun, alone="show")
def config() -> None:
    """What holds here, and where each setting comes from."""


@config.command(cls=Verb, examples=_EXAMPLES)
@click.argument("key", required=False)
@click.option("--yaml", "yaml_", is_flag=True, help="As an agent.yaml that says all of it, with the sources as comments.")
@click.pass_obj
def show(given: Given, key: str | None, yaml_: bool) -> None:
    """Show every setting with its value and its source: a file and line, or the default. KEY is one of them, or a whole part.

    Where an agent runs it is asked what it goes by, and a difference is told. Secrets are never shown, only the files they
    are in. With --yaml, paths below sensors, checks and channels are relative to the directory of the file they stand in.
    """
    picture = _Picture(given)
    if key and not picture.named(key):
        raise Stop(Exit.USAGE, f"cannot show `{key}`: there is no such setting\n{picture.meant(key)}")
    if yaml_:
        from agent.support.settings import as_yaml

        given.show.line(as_yaml(picture.named(key), f"What holds by {given.config_path}").rstrip("\n"))
    elif given.json:
        given.show.document("config", [picture.plain(key)])
    else:
        _tell(given, picture, key)


class _Picture:
    """The files, and the agent's own words on them; `agent` is None where none answers."""

    def __init__(self, given: Given) -> None:
        from agent.support.configured import settings_of, text_of
        from agent.support.secrets import redactor

        self.given, path = given, given.config_path
        self.agent = _ask(given)
        self.config = given.read_config()
        text = text_of(path, self.config.digest)
        if text is None:
            raise Stop(Exit.FAILED, f"cannot show {path}: it was changed while it was read\nTry again.")
        from agent.grammar.located import scan

        self.settings = settings_of(text, path, self.config, redactor(scan(text, str(path))[0][0], os.environ))
        self.running = dict(self.agent["settings"]) if self.agent else {}

    def named(self, key: str | None) -> list[Setting]:
        """The settings of that name, or below it."""
        return [one for one in self.settings if not key or one.key == key or one.key.startswith(f"{key}.")]

    def meant(self, key: str) -> str:
        from agent.grammar.problem import did_you_mean

        return did_you_mean(key, (one.key for one in self.settings)) or "contain config show lists all of them"

    def note(self, one: Setting) -> str:
        """What else is to be said of a setting: that the agent goes by another value, and where a secret is."""
        from agent.support.configured import AT_START

        if self.running and (was := self.running.get(one.key, "")) != one.value:
            return f"the agent goes by {was or 'nothing'}; {_START if one.path[0] in AT_START else _RELOAD}"
        return one.secret

    def sources(self) -> Iterator[tuple[str, str, str]]:
        """What, which, and by what that was chosen."""
        given = self.given
        yield "agent.yaml", str(given.config_path), _chosen(given.config, "CONTAIN_CONFIG", "var/agent.yaml here, or the host's")
        by_file = f"`socket:` of {given.config_path}" if given.socket_path != ask.DEFAULT_SOCKET else "the default"
        yield "socket", str(given.socket_path), _chosen(given.socket, "CONTAIN_SOCKET", by_file)

    def agent_says(self) -> str:
        """Whether what runs goes by what the files say."""
        if self.agent is None:
            return "none answers: this is what the files say"
        if self.agent["path"] != str(self.given.config_path.absolute()):
            return f"it goes by another file: {self.agent['path']}"
        if self.agent["problems"]:
            return "the files on disk have mistakes, it goes by those of before: contain policy check"
        return _RELOAD if self.agent["digest"] != self.config.digest else "it goes by this file"

    def policies(self) -> Iterator[dict[str, Any]]:
        """Each policy: its file, its hash, and how the agent stands to it."""
        from agent.action import CannotReach
        from agent.grammar.problem import Problems
        from agent.wiring import read_policies

        running = {name: digest for name, _, digest in self.agent["policies"]} if self.agent else {}
        try:
            found = {one.name: one for one in read_policies(self.config)[0]}
        except (Problems, CannotReach) as error:
            yield {"name": "", "place": "", "digest": "", "note": str(error).partition("\n")[0]}
            found = {}
        for one in found.values():
            same = running.get(one.name) == one.digest
            note = "" if same or not self.agent else _RELOAD if one.name in running else "new on disk: contain reload"
            yield {"name": one.name, "place": one.place, "digest": one.digest, "note": note}
        if found:
            for name, place, digest in self.agent["policies"] if self.agent else ():
                if name not in found:
                    yield {"name": name, "place": place, "digest": digest, "note": "not on disk any more: contain reload"}

    def plain(self, key: str | None) -> dict[str, Any]:
        """All of it for other programs."""
        rows = [
            {"key": one.key, "value": one.value or None, "source": one.source, "secret": bool(one.secret), "note": self.note(one)}
            | ({"running": self.running.get(one.key)} if self.running else {})
            for one in self.named(key)
        ]
        files = {what: {"path": path, "by": by} for what, path, by in self.sources()}
        agent = {"says": self.agent_says()} | ({"since": self.agent["at"], "forced": self.agent["forced"]} if self.agent else {})
        policies = list(self.policies()) if key in (None, "policies") else []
        return {"files": files, "agent": agent, "settings": rows, "policies": policies}


def _tell(given: Given, picture: _Picture, key: str | None) -> None:
    rows: list[list[Cell]] = []
    if not key:
        rows += [["file", what, path, f"by {by}", ""] for what, path, by in picture.sources()]
        at: Cell = At(picture.agent["at"]) if picture.agent else "-"
        forced = "--dry-run of contain run: nothing is put into force" if picture.agent and picture.agent["forced"] else ""
        rows.append(["agent", _inked(picture.agent_says()), "read", at, _inked(forced)])
    for one in picture.named(key):
        rows.append(["setting", one.key, one.value or "-", _short(given, one.source), _inked(picture.note(one))])
    if key in (None, "policies"):
        for each in picture.policies():
            rows.append(["policy", each["name"], each["digest"][:12], each["place"], _inked(each["note"])])
    given.show.rows(rows)


def _short(given: Given, source: str) -> str:
    """On a terminal, a place in agent.yaml by its line."""
    return source.removeprefix(f"{given.config_path.parent}/") if given.show.terminal else source


def _inked(note: str) -> Cell:
    return Ink(note, "yellow") if "changed" in note or "disk" in note or "--dry-run" in note or "another" in note else note


def _chosen(option: object, variable: str, otherwise: str) -> str:
    if option:
        return "the command line"
    return f"${variable}" if os.environ.get(variable) else otherwise


def _ask(given: Given) -> Mapping[str, Any] | None:
    try:
        return given.ask("config", patience=SOON)
    except Stop:
        return None
