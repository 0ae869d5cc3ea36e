"""The clocks that laws set for telling an authority, as the state keeps them: what is due when, and what was told. Pure.

NIS2 (Directive 2022/2555, Art. 23): an early warning in 24 h, a notification in 72 h, a final report a month after that. DORA
(Regulation 2022/2554, Art. 19; 2025/301, Art. 5): 4 h after it was classified as major, at the latest 24 h after it was known,
unless it was classified only later; an intermediate report 72 h after that one, a final one a month later. GDPR (Regulation
2016/679, Art. 33): 72 h.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, NamedTuple, cast

from agent.policy import Regime
from agent.record import Record

HOUR: Final = 3600.0
KEPT: Final = 500
"""Clocks of which nothing more is due that are kept at hand; the journal has them all."""
STAGES: Final[Mapping[Regime, tuple[str, ...]]] = {
    "nis2": ("early warning", "notification", "final report"),
    "dora": ("initial notification", "intermediate report", "final report"),
    "gdpr": ("notification",),
}


class Due(NamedTuple):
    """One word to an authority: when it is due, and when it was given. Unix seconds."""

    what: str
    due: float
    done: float | None


class Clock(NamedTuple):
    """One law's clock about one incident: `known` is when the agent found it, `since` when it was said to be reportable.

    `told` is when each stage was, in order; `reminded` what people were reminded of. `over` says why nothing more is due.
    """

    incident: str
    regime: Regime
    known: float
    since: float
    actor: str
    because: str
    told: tuple[float, ...] = ()
    reminded: tuple[str, ...] = ()
    over: str = ""

    @property
    def stages(self) -> list[Due]:
        """All that is due, in order."""
        names, made = STAGES[self.regime], list[Due]()
        for at, name in enumerate(names):
            done = self.told[at] if at < len(self.told) else None
            made.append(Due(name, self._due(at, made), done))
        return made

    def _due(self, at: int, before: list[Due]) -> float:
        last = (before[-1].done or before[-1].due) if before else 0.0
        match self.regime, at:
            case "nis2", 0:
                return self.known + 24 * HOUR
            case "dora", 0:
                late = self.since > self.known + 24 * HOUR
                return self.since + 4 * HOUR if late else min(self.since + 4 * HOUR, self.known + 24 * HOUR)
            case "dora", 1:
                return last + 72 * HOUR
            case _, 2:
                return month_after(last)
        return self.known + 72 * HOUR

    @property
    def next(self) -> Due | None:
        """What is due next; None where nothing is any more."""
        return None if self.over else next((one for one in self.stages if one.done is None), None)


def month_after(ts: float) -> float:
    """The same day and time of the next month, in UTC; its last day where it has no such day."""
    then = datetime.fromtimestamp(ts, UTC)
    year, month = (then.year + 1, 1) if then.month == 12 else (then.year, then.month + 1)
    day = min(then.day, monthrange(year, month)[1])
    return then.replace(year=year, month=month, day=day).timestamp()


class Clocks:
    """By incident and law."""

    kinds: ClassVar[frozenset[str]] = frozenset({"regime", "notified", "reminded"})

    def __init__(self) -> None:
        """No clock runs."""
        self.all: dict[tuple[str, Regime], Clock] = {}

    def of(self, incident: str) -> list[Clock]:
        """Those of one incident."""
        return [self.all[incident, one] for one in STAGES if (incident, one) in self.all] if self.all else []

    def running(self, incident: str) -> bool:
        """Whether somebody still has to tell an authority of it."""
        return any(one.next for one in self.of(incident))

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        key = (record.incident, cast("Regime", body["regime"]))
        if record.kind == "regime":
            known = Clock(*key, body["known"], ts, body["actor"], body["because"])
            self.all[key] = known if key not in self.all else self.all[key]._replace(over="")
            self._forget()
            return
        if (one := self.all.get(key)) is None:
            return
        if record.kind == "reminded":
            self.all[key] = one._replace(reminded=(*one.reminded, body["step"])[-20:])
        elif body.get("all"):
            self.all[key] = one._replace(over=f"{body['actor']}: {body['because']}")
        else:
            self.all[key] = one._replace(told=(*one.told, ts)[: len(STAGES[one.regime])])

    def _forget(self) -> None:
        """The oldest of which nothing more is due."""
        if len(self.all) > 2 * KEPT:
            for key in [key for key, one in self.all.items() if one.next is None][:-KEPT]:
                del self.all[key]

    def plain(self) -> Any:
        """Rows."""
        return [one._asdict() for one in self.all.values()]

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        for one in plain:
            made = Clock(**{**one, "told": tuple(one["told"]), "reminded": tuple(one["reminded"])})
            self.all[made.incident, made.regime] = made

    def shift(self, by: float) -> None:
        """The law's clock goes by the calendar; where the host's was wrong, what it had said was wrong, too."""
        for key, one in self.all.items():
            told = tuple(at + by for at in one.told)
            self.all[key] = one._replace(known=one.known + by, since=one.since + by, told=told)
