"""The outbox: what people are still to be told, channel by channel, and how far each word has come. Pure.

    notice → a row for each channel → sending → told
                                         ↑  └──→ not_told (tried again) … → given_up

A kill after `sending` leaves a row that is doubtful: nobody knows whether the call got through, so the next one asks the channel
first. What a row has to send (its parts) it learns in `sending`; what was never begun is worked out anew by whoever delivers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from agent.notifying.notice import Notice, read
from agent.notifying.notifier import Thread
from agent.record import Record

MOST_NEWS: Final = 50
"""Rows of one incident that wait in one channel; what is left out is told by the one behind it."""
MOST_ROWS: Final = 500
"""Rows that wait in one channel. What must get through is not counted out by it, and is at most a few for each incident."""
MOST_THREADS: Final = 2000
MOST_ALARMS: Final = 500
_MUST: Final = frozenset({"opened", "escalated", "resolved", "reopened", "closed"})


class Row(NamedTuple):
    """A notice on its way to one channel. `parts` are those left, None while nobody has begun it; `sending` the one that is out.

    `doubtful` says that a call may have got through; `tries` how often it did not, `refused` how often the channel would not have
    it as it is, `failed` when that was last; `passed` that a newer one got through before it; `left_out` how many older ones were
    left out before it.
    """

    notice: Notice
    since: float
    parts: tuple[str, ...] | None = None
    sending: str = ""
    doubtful: bool = False
    tries: int = 0
    refused: int = 0
    failed: float = 0.0
    passed: bool = False
    left_out: int = 0

    @property
    def must(self) -> bool:
        """Whether it is kept until it got through."""
        return self.notice.urgent and self.notice.what in _MUST

    @property
    def begun(self) -> bool:
        """Whether some of it is out, or may be."""
        return bool(self.sending) or self.doubtful


@dataclass
class Line:
    """What waits for one channel, in order for each incident, and how the channel does. Times are Unix seconds.

    It is not called before `again`; `held` says that the channel itself asked for that. `failing` is since when nothing gets
    through, with the last `error`; `sent` when it was called last, `told` when that got through; `lost` how many were left out.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    tries: int = 0
    again: float = 0.0
    held: bool = False
    failing: float | None = None
    error: str = ""
    sent: float = 0.0
    told: float | None = None
    lost: int = 0
    count: int = 0
    room: int = MOST_ROWS

    def all(self) -> Iterator[Row]:
        """Every row."""
        return (row for queue in self.rows.values() for row in queue)

    def find(self, key: str) -> Row | None:
        """The row of a notice."""
        return next((row for row in self.rows.get(incident_of(key), ()) if row.notice.key == key), None)

    def add(self, notice: Notice, ts: float) -> None:
        """One more; something older goes where there is no room."""
        queue = self.rows.setdefault(notice.incident, [])
        queue.append(Row(notice, ts))
        self.count += 1
        if len(queue) > MOST_NEWS:
            self._leave_out(queue)
        if self.count > self.room:
            self._tidy()

    def put(self, row: Row) -> None:
        """The row as it is now."""
        queue = self.rows[row.notice.incident]
        queue[next(at for at, one in enumerate(queue) if one.notice.key == row.notice.key)] = row

    def drop(self, key: str) -> None:
        """It is done with; what was left out before it is told by the next."""
        queue = self.rows.get(incident_of(key), [])
        at = next((at for at, row in enumerate(queue) if row.notice.key == key), None)
        if at is None:
            return
        self._take(queue, at)
        if not queue:
            del self.rows[incident_of(key)]
        if self.count <= MOST_ROWS:
            self.room = MOST_ROWS

    def _take(self, queue: list[Row], at: int) -> Row:
        self.count -= 1
        return queue.pop(at)

    def _leave_out(self, queue: list[Row]) -> None:
        """The oldest that is not a must; else one of which there is a newer of the same sort, which says how things stand now."""
        last = {row.notice.what: at for at, row in enumerate(queue) if row.must}
        free = (at for at, row in enumerate(queue) if not row.must and not row.begun)
        same = (at for at, row in enumerate(queue) if row.must and not row.begun and last[row.notice.what] > at)
        at = next(free, None)
        at = next(same, None) if at is None else at
        if at is not None and at < len(queue) - 1:
            gone = self._take(queue, at)
            queue[at] = queue[at]._replace(left_out=queue[at].left_out + gone.left_out + 1)

    def _tidy(self) -> None:
        """Leave out the oldest of all that are no musts, some more than needed, so that it is not done for each."""
        free = sorted((row.since, row.notice.key) for row in self.all() if not row.must and not row.begun)
        for _, key in free[: max(0, self.count - MOST_ROWS + MOST_ROWS // 10)]:
            queue = self.rows[incident_of(key)]
            at = next(at for at, row in enumerate(queue) if row.notice.key == key)
            gone = self._take(queue, at)
            if at < len(queue):
                queue[at] = queue[at]._replace(left_out=queue[at].left_out + gone.left_out + 1)
            else:
                self.lost += gone.left_out + 1
            if not queue:
                del self.rows[incident_of(key)]
        self.room = max(MOST_ROWS, self.count + MOST_ROWS // 10)


class Alarm(NamedTuple):
    """An urgent notice that has not got through to anybody yet; `to` are the channels it went to in its `stage`."""

    notice: Notice
    since: float
    to: tuple[str, ...]
    stage: str = "route"


class Outbox:
    """One line for each channel; the threads, by channel and incident, each with the channel's type; urgent ones nobody got."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {"notice", "sending", "told", "not_told", "not_needed", "given_up", "fell_back", "cried", "started", "channels"}
    )

    def __init__(self) -> None:
        """Nobody is to be told anything."""
        self.lines: dict[str, Line] = {}
        self.threads: dict[tuple[str, str], tuple[str, Thread]] = {}
        self.alarms: dict[str, Alarm] = {}
        self.cried: dict[str, float] = {}
        """When the terminals of this host were last told of an incident."""
        self.untold: dict[str, float] = {}
        """Incidents of which nobody could be told, since when."""
        self.last_test = 0

    def thread(self, channel: str, kind: str, incident: str) -> Thread:
        """What a channel of this type remembers of an incident."""
        known, thread = self.threads.get((channel, incident), (kind, {}))
        return thread if known == kind else {}

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        _FOLDS[record.kind](self, record.body, ts)

    # Records ----------------------------------------------------------------------------------------------------------------

    def _notice(self, body: Mapping[str, Any], ts: float) -> None:
        notice = read(body["notice"])
        for name in dict.fromkeys(body["to"]):
            self._add(name, notice, ts)
        if notice.what == "test":
            self.last_test = max(self.last_test, int(notice.incident.rpartition("-")[2]))
        elif notice.urgent and body["to"]:
            _keep(self.alarms, notice.key, Alarm(notice, ts, tuple(body["to"])), MOST_ALARMS)

    def _add(self, name: str, notice: Notice, ts: float) -> None:
        line = self.lines.setdefault(name, Line())
        if (notice.urgent or notice.what == "test") and not line.held:
            line.again = min(line.again, ts)
        line.add(notice, ts)

    def _sending(self, body: Mapping[str, Any], ts: float) -> None:
        if (line := self.lines.get(body["channel"])) and (row := line.find(body["notice"])):
            line.sent = ts
            line.put(row._replace(parts=tuple(body["left"]), sending=body["part"], doubtful=body["doubtful"]))

    def _told(self, body: Mapping[str, Any], ts: float) -> None:
        line = self.lines.setdefault(body["channel"], Line())
        line.tries, line.again, line.held, line.failing, line.error, line.told = 0, 0.0, False, None, "", ts
        key, incident = body["notice"], incident_of(body["notice"])
        if row := line.find(key):
            queue = line.rows[incident]
            queue[:] = [one._replace(passed=True) if one.notice.number < row.notice.number else one for one in queue]
            if left := (row.parts or ())[1:]:
                line.put(row._replace(parts=left, sending="", doubtful=False, tries=0, refused=0, failed=0.0, left_out=0))
            else:
                line.drop(key)
        if body["thread"]:
            _keep(self.threads, (body["channel"], incident), (body["type"], dict(body["thread"])), MOST_THREADS)
        else:
            self.threads.pop((body["channel"], incident), None)
        self.alarms.pop(key, None)
        self.untold.pop(incident, None)

    def _not_told(self, body: Mapping[str, Any], ts: float) -> None:
        line = self.lines.get(body["channel"])
        if line is None:
            return
        line.tries, line.again, line.held, line.error = line.tries + 1, body["again"], body["held"], body["why"]
        line.failing = ts if line.failing is None else line.failing
        if row := line.find(body["notice"]):
            refused, doubtful = row.refused + (body["result"] in ("refused", "bug")), body["result"] in ("unsure", "bug")
            row = row._replace(sending="", doubtful=row.doubtful or doubtful)
            line.put(row._replace(tries=row.tries + 1, refused=refused, failed=ts))

    def _not_needed(self, body: Mapping[str, Any], ts: float) -> None:  # noqa: ARG002 - one shape for all
        for key in body["notices"]:
            self._settled(body["channel"], key)

    def _given_up(self, body: Mapping[str, Any], ts: float) -> None:  # noqa: ARG002
        line = self.lines.get(body["channel"])
        for key in body["notices"]:
            if body.get("actor"):
                self._settled(body["channel"], key)
            elif line:
                line.drop(key)
        if line and not line.rows and body.get("gone"):
            del self.lines[body["channel"]]

    def _settled(self, channel: str, key: str) -> None:
        """Nothing of it is to be said there, so nobody misses it there."""
        if line := self.lines.get(channel):
            line.drop(key)
        if alarm := self.alarms.get(key):
            to = tuple(one for one in alarm.to if one != channel)
            self.alarms[key] = alarm._replace(to=to)
            if not to:
                del self.alarms[key]

    def _fell_back(self, body: Mapping[str, Any], ts: float) -> None:
        alarm = self.alarms.get(body["notice"])
        if alarm is None:
            return
        for name in body["to"]:
            self._add(name, alarm.notice, ts)
        self.alarms[body["notice"]] = alarm._replace(to=tuple(body["to"]), stage="fallback", since=ts)

    def _cried(self, body: Mapping[str, Any], ts: float) -> None:
        self.alarms.pop(body["notice"], None)
        incident = incident_of(body["notice"])
        if incident not in self.untold:
            _keep(self.untold, incident, ts, MOST_ALARMS)
        if body["loud"]:
            _keep(self.cried, incident, ts, MOST_ALARMS)

    def _started(self, body: Mapping[str, Any], ts: float) -> None:
        """Whatever was out is in doubt, and everybody is asked anew."""
        for line in self.lines.values():
            for row in [row for row in line.all() if row.sending]:
                line.put(row._replace(sending="", doubtful=True))
        self._channels(body, ts)

    def _channels(self, body: Mapping[str, Any], ts: float) -> None:  # noqa: ARG002
        """agent.yaml was read again: what was wrong may be mended."""
        for line in self.lines.values():
            line.tries, line.again, line.held = 0, 0.0, False

    # As a book --------------------------------------------------------------------------------------------------------------

    def plain(self) -> Any:
        """All of it as JSON values; each notice once, however many wait for it."""
        rows = [row for line in self.lines.values() for row in line.all()]
        notices = {one.key: one for one in (*(row.notice for row in rows), *(alarm.notice for alarm in self.alarms.values()))}
        return {
            "notices": [one._asdict() for one in notices.values()],
            "lines": [[name, _plain(line)] for name, line in self.lines.items()],
            "threads": [[*key, kind, list(map(list, thread.items()))] for key, (kind, thread) in self.threads.items()],
            "alarms": [[one.notice.key, one.since, list(one.to), one.stage] for one in self.alarms.values()],
            "cried": list(map(list, self.cried.items())),
            "untold": list(map(list, self.untold.items())),
            "last_test": self.last_test,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Be again what `plain` said."""
        notices = {one["key"]: read(one) for one in plain["notices"]}
        self.lines = {name: _line(one, notices) for name, one in plain["lines"]}
        self.threads = {(channel, incident): (kind, dict(pairs)) for channel, incident, kind, pairs in plain["threads"]}
        self.alarms = {key: Alarm(notices[key], since, tuple(to), stage) for key, since, to, stage in plain["alarms"]}
        self.cried, self.untold, self.last_test = dict(plain["cried"]), dict(plain["untold"]), plain["last_test"]

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        for line in self.lines.values():
            for queue in line.rows.values():
                queue[:] = [row._replace(since=row.since + by, failed=_moved(row.failed, by)) for row in queue]
            line.again, line.sent = _moved(line.again, by), _moved(line.sent, by)
            line.failing = None if line.failing is None else line.failing + by
            line.told = None if line.told is None else line.told + by
        self.alarms = {key: one._replace(since=one.since + by) for key, one in self.alarms.items()}
        self.cried = {name: at + by for name, at in self.cried.items()}
        self.untold = {name: at + by for name, at in self.untold.items()}


_FOLDS: Final = {
    "notice": Outbox._notice,
    "sending": Outbox._sending,
    "told": Outbox._told,
    "not_told": Outbox._not_told,
    "not_needed": Outbox._not_needed,
    "given_up": Outbox._given_up,
    "fell_back": Outbox._fell_back,
    "cried": Outbox._cried,
    "started": Outbox._started,
    "channels": Outbox._channels,
}


def incident_of(key: str) -> str:
    """The incident whose notice has this key."""
    return key.rpartition("/")[0]


def _keep(known: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """As the latest; of too many, the one untouched for longest goes."""
    known.pop(key, None)
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]


def _moved(at: float, by: float) -> float:
    return at + by if at else at  # 0 is never


_KEPT: Final = ("tries", "again", "held", "failing", "error", "sent", "told", "lost")


def _plain(line: Line) -> dict[str, Any]:
    rows = []
    for row in line.all():
        notice, since, parts, *rest = row
        rows.append([notice.key, since, None if parts is None else list(parts), *rest])
    return {"rows": rows, **{name: getattr(line, name) for name in _KEPT}}


def _line(plain: Mapping[str, Any], notices: Mapping[str, Notice]) -> Line:
    line = Line(**{name: plain[name] for name in _KEPT if name in plain})
    for key, since, parts, *rest in plain["rows"]:
        made = Row(notices[key], since, None if parts is None else tuple(parts), *rest)
        line.rows.setdefault(made.notice.incident, []).append(made)
        line.count += 1
    line.room = max(MOST_ROWS, line.count)
    return line
