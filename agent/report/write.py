"""A story as one HTML file, as Markdown with its picture, or as JSON. Whatever came from outside is escaped for each of them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.report import notes as people
from agent.report.picture import named, picture
from agent.report.story import Moment, Story, long
from agent.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

Local = Callable[[float], datetime]
"""A moment in the zone of whoever reads it."""

MOST_MOMENTS: Final = 400
MOST_DEEDS: Final = 200
MOST_TARGETS: Final = 100
MOST_KEPT: Final = 500
"""Rows of each table; what is more is counted, and stands in the evidence and in the JSON."""
_HERE: Final = Path(__file__).with_name("templates")
_MARKS: Final = re.compile(r"[\\`*_\[\]{}<>|#~!&+-]")
_LINK: Final = re.compile(r":(?=//)|(?<=mailto|script):|(?<=www)\.", re.IGNORECASE)
_WEIGHT: Final = {"human": 0, "notify": 1, "recover": 1, "detect": 2, "action": 3, "signal": 3}


def html(told: Story, local: Local) -> str:
    """One file that opens anywhere: no script, nothing fetched, and a policy of its own that would forbid both."""
    env = _environment(markdown=False)
    css = f"{_text('report.css')}{_text('timeline.css')}"
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return env.get_template("report.html.j2").render(**_given(told, local), css=env.filters["trusted"](css), digest=digest)


def svg(told: Story) -> str:
    """The picture alone, as a file beside the Markdown."""
    env = _environment(markdown=False)
    css = env.filters["trusted"](_text("timeline.css"))
    drawn = env.get_template("timeline.svg.j2").render(told=told, picture=picture(told), named=named, alone=True, css=css)
    return f"{drawn}\n"


def markdown(told: Story, local: Local, drawing: str = "") -> str:
    """Markdown for a repository or a wiki; `drawing` is the name of the picture's file, where there is one."""
    return _environment(markdown=True).get_template("report.md.j2").render(**_given(told, local), drawing=drawing)


def plain(told: Story) -> dict[str, Any]:
    """Everything as JSON values; times are RFC 3339."""
    made: dict[str, Any] = _portable(asdict(told))
    return {**made, "numbers": asdict(told.numbers), "lacks": made.pop("missing")}


_TIMES: Final = frozenset(
    {"written", "began", "opened", "acked", "contained", "resolved", "closed", "at", "until", "ended", "since", "due"}
)


def _portable(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {
            name: _stamp(one) if name in _TIMES and isinstance(one, float | int) else _portable(one)
            for name, one in value.items()
        }
    return [_portable(one) for one in value] if isinstance(value, list | tuple) else value


def _stamp(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# What the templates are given ---------------------------------------------------------------------------------------------


def _given(told: Story, local: Local) -> dict[str, Any]:
    zone = local(told.opened).tzname() or ""
    shown = moments(told.moments)
    return {
        "told": told,
        "picture": picture(told),
        "named": named,
        "alone": False,
        "parts": {one.name: one for one in people.PARTS},
        "zone": "" if local(told.opened).utcoffset() == UTC.utcoffset(None) else zone,
        "local": lambda at: f"{local(at):%Y-%m-%d %H:%M:%S}",
        "moments": shown,
        "more_moments": len(told.moments) - len(shown),
        "deeds": told.deeds[:MOST_DEEDS],
        "more_deeds": max(0, len(told.deeds) - MOST_DEEDS),
        "targets": told.targets[:MOST_TARGETS],
        "more_targets": max(0, len(told.targets) - MOST_TARGETS),
        "kept": told.kept[:MOST_KEPT],
        "more_kept": max(0, len(told.kept) - MOST_KEPT),
        "numbers": numbers(told),
    }


def moments(some: Sequence[Moment], most: int = MOST_MOMENTS) -> list[Moment]:
    """At most so many, in order: what people did and heard first of all, then what was found, the earliest before the later."""
    if len(some) <= most:
        return list(some)
    ranked = sorted(range(len(some)), key=lambda at: (_WEIGHT[some[at].lane], at))
    return [some[at] for at in sorted(ranked[:most])]


def numbers(told: Story) -> list[tuple[str, str, str]]:
    """The numbers with their names, and a word about each."""
    one = told.numbers
    unsure = f"of it {long(one.unsure)} nobody could say" if one.unsure else ", ".join(told.impact)
    slow = (
        f"the slowest of {one.targets} stood open for {long(one.slowest)}"
        if one.targets > 1 and one.slowest
        else "after it was found"
    )
    rows = [
        ("Time to detect", long(one.detect), "from its first event to the finding"),
        ("Time to acknowledge", long(one.acknowledge), f"by {told.acked_by}" if told.acked_by else "nobody has"),
        ("Time to contain", long(one.contain, "nothing was done, in dry run" if one.would else "not yet"), slow),
        ("Time to resolve", long(one.resolve), "from its first event to its end"),
        ("Total downtime", long(one.downtime, "not measured"), unsure or "no check is named in `incident: impact`"),
        ("Targets", str(one.targets), f"{one.findings} finding{'s' * (one.findings != 1)}"),
        (
            "Actions",
            f"{one.applied} applied",
            f"{one.failed} failed, {one.refused} refused, {one.undone} undone, {one.in_force} in force",
        ),
    ]
    if one.would:
        rows.append(("Dry run", f"{one.would} would be", "nothing of it was done"))
    if one.told or one.untold:
        rows.append(("People told", str(one.told), f"{one.untold} could not be" if one.untold else ""))
    return rows


# Escaping -----------------------------------------------------------------------------------------------------------------


@cache
def _environment(*, markdown: bool) -> Environment:
    """Templates in which every value is escaped, unless a filter has made it safe."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) else Markup(in_markdown(value))  # noqa: S704 - escaped for Markdown

    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,  # in Markdown, where `finalize` comes first, it keeps what macros return from being escaped twice
        finalize=finalize if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {
        "long": long,
        "utc": lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" if at is not None else "",
        "trusted": Markup,
        "code": lambda text: Markup(code(str(text))),  # noqa: S704
        "fenced": lambda text: Markup(fenced(str(text))),  # noqa: S704
        "written": lambda text: Markup(written(str(text))),  # noqa: S704
        "blocks": blocks,
        "visible": visible,
    }
    made.filters.update(filters)
    return made


@cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def in_markdown(value: object) -> str:
    """Text that Markdown shows as it is, in a table too: no markup, no HTML; links and mentions as security people write them."""
    text = _LINK.sub(lambda found: f"[{found[0]}]", visible(value)).replace("@", "[@]")
    return _MARKS.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), text)


_ENTITIES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "-": "-", "+": "+"}


def code(text: str) -> str:
    """A text as code on one line of Markdown, in a table too; nothing in it can end the code."""
    shown = visible(text).replace("|", "\\|")
    ticks = "`" * (1 + max((len(one) for one in re.findall("`+", shown)), default=0))
    return f"{ticks} {shown} {ticks}" if len(ticks) > 1 or shown.startswith(" ") else f"{ticks}{shown}{ticks}"


def fenced(text: str) -> str:
    """Lines as code in Markdown; the fence is longer than any in them."""
    ticks = "`" * max(3, 1 + max((len(one) for one in re.findall("`+", text)), default=0))
    return f"{ticks}yaml\n{lines(text)}\n{ticks}"


def written(text: str) -> str:
    """What a person wrote as Markdown, in Markdown: theirs to mark up, but for HTML and headings, which are the report's own."""
    safe = lines(text).replace("&", "&amp;").replace("<", "&lt;")
    return "\n".join(f"\\{one}" if one.startswith("#") else one for one in safe.splitlines())


def lines(text: str) -> str:
    """Lines with everything that does not print made visible."""
    return "\n".join(visible(one, 10_000) for one in text.replace("\t", "    ").splitlines())


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """What a person wrote as paragraphs (p), lists (ul) and code (pre), a list of lines or items each."""
    made: list[tuple[str, list[str]]] = []
    fence, fresh = False, True
    for line in lines(text).splitlines():
        if line.lstrip().startswith("```"):
            fence = not fence
            made += [("pre", [])] if fence else []
            fresh = not fence
        elif fence:
            made[-1][1].append(line)
        elif not line.strip():
            fresh = True
        else:
            _add(made, line.strip(), fresh=fresh)
            fresh = False
    return made


def _add(made: list[tuple[str, list[str]]], line: str, *, fresh: bool) -> None:
    item = re.match(r"(?:[-*+]|\d{1,3}[.)]) +(.*)", line)
    kind = "ul" if item else "p"
    if made and not fresh and made[-1][0] == "ul" and not item:
        made[-1][1][-1] += f" {line}"
    elif made and made[-1][0] == kind and (item or not fresh):
        made[-1][1].append(item[1] if item else line)
    else:
        made.append((kind, [item[1] if item else line]))
