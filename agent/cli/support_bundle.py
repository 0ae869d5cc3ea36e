"""`contain support-bundle`: one file for those who help, without secrets."""

from __future__ import annotations

import json
import os
import pwd
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.order import Seconds

if TYPE_CHECKING:
    from agent.evidence.redact import Redactor
    from agent.grammar.config import Config
    from agent.support.bundle import Made
    from agent.support.pseudonyms import Pseudonyms

_PEOPLE: Final = 1000
"""User ids from here on are people's."""
_SOON: Final = 10.0


@click.command(
    cls=Verb,
    examples=("contain support-bundle --output bundle.tar.gz", "contain support-bundle --since 7d --pseudonyms"),
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it; a new file.")
@click.option("--since", type=Seconds("90d"), default="24h", help="Records and log lines as old as this.  [default: 24h]")
@click.option(
    "--pseudonyms",
    is_flag=True,
    help="Replace addresses, user names and the host's name by words, the same for the same; which is which goes to FILE.names.",
)
@click.pass_obj
def support_bundle(given: Given, output: Path | None, since: float, pseudonyms: bool) -> None:
    """Gather what those who help need to see into one file that only you may read. Nothing is sent anywhere.

    Versions, doctor, settings, policies, what the agent says, recent records, its log, our units and nft tables. Secrets are
    replaced, and MANIFEST.txt says what is in it and what is missing, and why. It works as far as it can with a dead agent.
    """
    from agent.support.bundle import gather, make, write
    from agent.support.parts import Here, parts

    target = output or Path(f"containment-support-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz")
    config, redact = _read(given)
    here = Here(given.config_path, config, _asker(given), time.time() - since)
    wanted = list(parts(here))
    given.show.talk(f"This writes {target}, for you alone to read; nothing is sent. It gathers:")
    given.show.talk("\n".join(f"  {part.name}: {part.about}" for part in wanted))
    got = gather(wanted)
    names = _names(config) if pseudonyms else None
    made = make(wanted, got, redact, names)
    try:
        write(target, made.data)
        if names:
            write(target.with_name(f"{target.name}.names"), json.dumps(names.known, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise Stop(Exit.FAILED, f"cannot write {error.filename or target}: {error.strerror}\nName another --output.") from error
    _tell(given, target, made)


def _tell(given: Given, target: Path, made: Made) -> None:
    if given.json:
        rows = [{"name": one.name, "about": one.about, "bytes": one.size, "missing": one.why} for one in made.rows]
        given.show.document("support-bundle", [{"path": str(target), "bytes": len(made.data), "parts": rows}])
        return
    for one in made.rows:
        if one.why:
            given.show.talk(f"{one.name}: {one.why}")
    given.show.line(f"{target}: {len(made.data):,} bytes. Read it before you hand it on: tar -xzf {target}")


def _read(given: Given) -> tuple[Config | None, Redactor]:
    """What agent.yaml says, as far as it can be read, and who knows the secrets that it leads to."""
    from agent.grammar.located import scan
    from agent.support.secrets import redactor

    path = given.config_path
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None, redactor(None, os.environ)
    documents, _ = scan(text, str(path))
    redact = redactor(documents[0] if documents else None, os.environ)
    try:
        return given.read_config(), redact
    except Stop:
        return None, redact


def _asker(given: Given) -> Callable[[str], Mapping[str, Any]]:
    """Ask the agent; once it has not answered, nothing more is waited for."""
    from agent.support.bundle import Left

    silent = ""

    def ask(verb: str) -> Mapping[str, Any]:
        nonlocal silent
        if silent:
            raise Left(silent)
        try:
            return given.ask(verb, patience=_SOON)
        except Stop as stop:
            why = stop.text.partition("\n")[0]
            silent = why if stop.code == Exit.UNREACHABLE else ""
            raise Left(why) from stop

    return ask


def _names(config: Config | None) -> Pseudonyms:
    from agent.support.pseudonyms import Pseudonyms

    made = Pseudonyms()
    made.host(socket.gethostname(), *([config.host] if config and config.host else []))
    made.users(one.pw_name for one in pwd.getpwall() if one.pw_uid >= _PEOPLE and one.pw_name != "nobody")
    made.users(config.approvals.by if config else ())
    made.users(name for name in (os.environ.get("SUDO_USER"), os.environ.get("LOGNAME")) if name)
    return made
