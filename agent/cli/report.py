"""`contain report`: tell of what no sensor sees. It opens an incident at once, and does nothing else."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.given_file import content_of

MOST: Final = 1 << 20
"""Bytes of an attached file."""
MOST_PACKED: Final = 180 << 10
"""Bytes of it packed: what a request to the agent has room for."""


@click.command(
    cls=Verb,
    examples=(
        """contain report "customers see other people's orders" --severity P1 --service shop""",
        'contain report "the same from the Paris office" --incident INC-1',
    ),
)
@click.argument("text")
@click.option("--severity", type=click.Choice(["P0", "P1", "P2", "P3"]), help="P0: all is down, or data is lost. Unsaid: P2.")
@click.option("--service", help="What it is about.")
@click.option("--ip", metavar="ADDRESS", help="Whom it is about.")
@click.option("--incident", metavar="ID", type=Name("incidents", "id"), help="Add it to this incident instead of opening one.")
@click.option("--attach", metavar="FILE", type=click.Path(path_type=Path), help="Keep it as evidence: 1 MiB, packed 180 KiB.")
@click.pass_obj
def report(given: Given, /, text: str, attach: Path | None, **named: str | None) -> None:
    """Report what you see. An incident is opened at once, in your name, and stays open until: contain incidents resolve.

    Policies may name reports as well; what they would do then waits for a person's yes. The file is read with your own rights.
    """
    if named["incident"] and named["severity"]:
        mend = "Leave --severity out, or report it anew."
        raise Stop(Exit.USAGE, f"cannot add with a severity: that would change the incident's\n{mend}")
    body: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if attach:
        body["attached"] = {"name": attach.name[:255], "data": _packed(attach)}
    answer = given.ask("report", text=text, **body)
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, answer["error"])
    if given.json:
        given.show.document("report", [answer])
        return
    _tell(given, answer)


def _tell(given: Given, answer: dict[str, Any]) -> None:
    show, name = given.show, answer["incident"]
    words = {"known": "is the same report, and open already", "added": "has it now", "reported": "is open"}
    show.line(f"{name} {words[answer['result']]}: {answer['severity']} {show.text(answer['target'])}")
    for one in answer["files"]:
        said = show.text(one.get("error") or one["file"])
        show.line(f"The file was not kept: {said}" if "error" in one else f"Kept as evidence: contain evidence show {said}")
    show.line(f'More of it: contain report "…" --incident {name}. Over: contain incidents resolve {name} --why "…"')


def _packed(path: Path) -> str:
    """A file's content as gzip in base64."""
    try:
        data = content_of(path, MOST)
    except OSError as error:
        raise Stop(Exit.FAILED, f"cannot attach {path}: {error.strerror}") from error
    if data is None:
        raise Stop(Exit.USAGE, f"cannot attach {path}: it is no regular file")
    mend = f"Attach the part that matters, as in: tail -n 1000 {path} > part"
    if len(data) > MOST:
        raise Stop(Exit.USAGE, f"cannot attach {path}: it is larger than {MOST >> 20} MiB\n{mend}")
    packed = gzip.compress(data, mtime=0)
    if len(packed) > MOST_PACKED:
        size = f"{len(packed) >> 10} KiB packed, and {MOST_PACKED >> 10} KiB go into a request"
        raise Stop(Exit.USAGE, f"cannot attach {path}: it has {size}\n{mend}")
    return base64.b64encode(packed).decode("ascii")
