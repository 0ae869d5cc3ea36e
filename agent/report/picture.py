"""The picture of a timeline as shapes in their places. Two panels: what matters is over in a fraction of the whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from agent.report.deeds import HOLDING
from agent.report.story import LANES, Deed, Lane, Story, long

WIDTH: Final = 1000
_LEFT: Final = 118
_RIGHT: Final = 18
_ROW: Final = 26
_HEAD: Final = 72
_FOOT: Final = 30
_GAP: Final = 20
_SAME: Final = 14.0
"""Points of the picture within which two moments are one dot."""
_MOST_BARS: Final = 8
_STEPS: Final = (
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
    172800,
    604800,
    2592000,
)
_FIRST: Final = 600.0


class Dot(NamedTuple):
    """One moment, or several that are too close to be told apart."""

    x: float
    y: float
    lane: Lane
    many: int
    say: str


class Bar(NamedTuple):
    """A mitigation in force, or several; `label` stands on the bar where there is room, behind it otherwise."""

    x: float
    y: float
    wide: float
    name: str
    label: str
    inside: bool
    say: str


class Band(NamedTuple):
    """A downtime."""

    x: float
    wide: float
    label: str


class Mark(NamedTuple):
    """A line with a word: found, contained …; `row` keeps two words from being one."""

    x: float
    word: str
    row: int
    end: bool


class Tick(NamedTuple):
    """A place of the scale."""

    x: float
    label: str


class Panel(NamedTuple):
    """One part of the time. `y` is where it begins, `rows` are its lanes with their heights, `foot` is where the scale is."""

    title: str
    y: float
    foot: float
    rows: tuple[tuple[Lane, float], ...]
    dots: tuple[Dot, ...]
    bars: tuple[Bar, ...]
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


class Picture(NamedTuple):
    """All of it; sizes are in points."""

    width: int
    height: int
    left: int
    right: int
    panels: tuple[Panel, ...]


class _Scale(NamedTuple):
    begin: float
    end: float

    def x(self, at: float) -> float:
        share = (min(max(at, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def has(self, at: float) -> bool:
        return self.begin <= at <= self.end


def picture(told: Story) -> Picture:
    """The first ten minutes, or three times as long as it took to contain it; and the whole, where that is more."""
    first, last = _ends(told)
    panels: list[Panel] = []
    y = 0.0
    early = max(_FIRST, 3 * ((told.numbers.contain or 0.0) + (told.numbers.detect or 0.0)))
    spans = [(first, last, f"The whole: {long(last - first)}")]
    if last - first > 1.5 * early:
        spans.insert(0, (first, first + early, f"The first {long(early)}"))
    for begin, end, title in spans:
        pad = max(1.0, (end - begin) * 0.02)
        panels.append(_panel(told, _Scale(begin - pad, end + pad), title, y))
        y = panels[-1].foot + _FOOT + _GAP
    return Picture(WIDTH, round(y - _GAP), _LEFT, WIDTH - _RIGHT, tuple(panels))


def _ends(told: Story) -> tuple[float, float]:
    """From the first event, or from a downtime that began shortly before it, to the end so far."""
    last = max(told.end, told.opened + 1.0)
    early = [one.since for one in told.downs if told.began - one.since <= max(_FIRST, last - told.began)]
    return min([told.began, *early]), last


def _panel(told: Story, scale: _Scale, title: str, y: float) -> Panel:
    rows = tuple((lane, y + _HEAD + number * _ROW + _ROW / 2) for number, lane in enumerate(LANES))
    below = y + _HEAD + len(LANES) * _ROW + 8
    bars = tuple(_bars(told, scale, below))
    foot = below + len({one.y for one in bars}) * _ROW + 4
    heights = dict(rows)
    return Panel(
        title,
        y,
        foot,
        rows,
        tuple(_dots(told, scale, heights)),
        bars,
        tuple(_bands(told, scale)),
        _marks(told, scale),
        _ticks(scale),
    )


def _dots(told: Story, scale: _Scale, heights: dict[Lane, float]) -> Iterator[Dot]:
    for lane in LANES:
        there: list[tuple[float, list[str]]] = []
        for one in told.moments:
            if one.lane != lane or not scale.has(one.at):
                continue
            x = scale.x(one.at)
            if there and x - there[-1][0] <= _SAME:
                there[-1][1].append(f"{_clock(one.at)} {one.say}")
            else:
                there.append((x, [f"{_clock(one.at)} {one.say}"]))
        for x, said in there:
            more = [f"and {len(said) - 4} more"] if len(said) > 5 else []
            yield Dot(x, heights[lane], lane, len(said), "\n".join([*said[: 4 if more else 5], *more]))


def _bars(told: Story, scale: _Scale, y: float) -> Iterator[Bar]:
    """One bar for each mitigation; where there are too many, one row for each action."""
    held = [one for one in told.deeds if one.began is not None and one.state != "done"]
    rows: list[tuple[str, list[Deed]]] = [(one.action, [one]) for one in held]
    if len(rows) > _MOST_BARS:
        by: dict[str, list[Deed]] = {}
        for one in held:
            by.setdefault(one.action, []).append(one)
        rows = list(by.items())
    for number, (name, some) in enumerate(rows[:_MOST_BARS]):
        spans = _joined((one.began or one.at, _end(told, one)) for one in some)
        for since, until in spans:
            if until < scale.begin or since > scale.end:
                continue
            x, wide = scale.x(since), max(2.0, scale.x(until) - scale.x(since))
            label = (
                f"{some[0].target}, {long(until - since)}" if len(some) == 1 else f"{len(some)} × {name}, {long(until - since)}"
            )
            room = max(4, int(wide / 6.4) - 1)
            label, inside = (label, True) if len(label) <= room else (_cut(label, int((WIDTH - x - wide - 30) / 6.4)), False)
            yield Bar(x, y + number * _ROW, round(wide, 1), _cut(name, 17), label, inside, f"{name}: {some[0].does}")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…" if most > 4 else ""


def _end(told: Story, one: Deed) -> float:
    if one.ended is not None:
        return one.ended
    return told.end if one.state in HOLDING or one.until is None else min(one.until, told.end)


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    made: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if made and since <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], until))
        else:
            made.append((since, until))
    return made


def _bands(told: Story, scale: _Scale) -> Iterator[Band]:
    for one in told.downs:
        until = told.written if one.until is None else one.until
        if until < scale.begin or one.since > scale.end:
            continue
        wide = max(2.0, scale.x(until) - scale.x(one.since))
        label = f"down {long(until - one.since)}"
        yield Band(scale.x(one.since), round(wide, 1), label if wide > 6.4 * len(label) else "")


def _marks(told: Story, scale: _Scale) -> tuple[Mark, ...]:
    contained = None if told.numbers.contain is None else told.opened + told.numbers.contain
    wanted = (("found", told.opened), ("contained", contained), ("acknowledged", told.acked), ("over", told.resolved))
    places: list[tuple[float, list[str]]] = []
    for at, word in sorted(((at, word) for word, at in wanted if at is not None and scale.has(at)), key=lambda one: one[0]):
        x = scale.x(at)
        if places and x - places[-1][0] < 3:
            places[-1][1].append(word)
        else:
            places.append((x, [word]))
    made, ends = list[Mark](), [0.0, 0.0]
    for x, words in places:
        long_word = ", ".join(words)
        wide = 6.8 * len(long_word)
        end = x + wide > WIDTH - _RIGHT
        begins = x - wide - 4 if end else x
        row = next((number for number, taken in enumerate(ends) if taken <= begins), None)
        if row is not None:
            ends[row] = begins + wide + 10
        made.append(Mark(x, long_word if row is not None else "", row or 0, end))
    return tuple(made)


def _ticks(scale: _Scale) -> tuple[Tick, ...]:
    length = scale.end - scale.begin
    step = next((one for one in _STEPS if length / one <= 10), _STEPS[-1] * max(1, int(length / _STEPS[-1] / 10)))
    at = scale.begin // step * step + step
    made = list[Tick]()
    while at < scale.end and len(made) < 40:
        made.append(Tick(scale.x(at), _label(at, step)))
        at += step
    return tuple(made)


def _label(at: float, step: float) -> str:
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 43200 else "%b %d"
    return f"{datetime.fromtimestamp(at, UTC):{form}}"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def named(bars: Sequence[Bar]) -> list[tuple[float, str]]:
    """The rows of the bars: their heights and names, each once."""
    return list({one.y: (one.y, one.name) for one in bars}.values())
