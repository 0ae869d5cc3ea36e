"""`contain policy backtest`: what policies would have done about what this host has seen, and how that differs from now."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from agent.cli import policy_backtest_show, policy_files, policy_prove
from agent.cli.ends import Exit, Stop
from agent.cli.evidence_read import DB, reading
from agent.cli.given import Given, Verb, plainly
from agent.cli.order import Seconds

if TYPE_CHECKING:
    from agent.backtest.account import Account
    from agent.backtest.gaps import Stored
    from agent.backtest.replay import Replay
    from agent.evidence.journal_read import Reader
    from agent.grammar.config import Config
    from agent.policy import Policy
    from agent.proving.reach import Ground
    from agent.state import State
    from agent.turn import Settings

QUIET: Final = 1.0
"""Seconds before anything is said about how far it is."""
LISTED: Final = ("listed", "unlisted")
HISTORY: Final = ("clock_set", "policies", "mode")


class Moment(click.ParamType[float]):
    """A moment: so long ago (7d, 90m), or a date as in 2026-11-20T06:00:00Z."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Unix seconds; a date without a zone is local time."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return datetime.fromisoformat(str(value)).astimezone().timestamp()
        except (ValueError, OverflowError):
            return time.time() - Seconds().convert(value, param, ctx)


@click.command(
    cls=Verb,
    examples=("contain policy backtest policies/ --since 7d", "contain policy backtest policies/ --since 1d --exit-code --json"),
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@click.option("--since", type=Moment(), default="7d", show_default=True, help="From here on: so long ago, or a date.")
@click.option("--until", type=Moment(), help="To here; without it, to now.")
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Compare with these, not with agent.yaml's.")
@click.option("--as-set", is_flag=True, help="In the modes that are set; without it, as if all but those that are off acted.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 where anything differs.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=40, show_default=True, help="So many lines of each part.")
@DB
@click.pass_obj
def backtest(
    given: Given,
    directory: Path,
    *,
    since: float,
    until: float | None,
    against: Path | None,
    as_set: bool,
    exit_code: bool,
    limit: int,
    db: Path | None,
) -> Exit:
    """What the policies in DIR would have done about the events that are stored, and how that differs from the live ones.

    Nothing is done and no system is asked. The agent's own code decides, in virtual time: windows, life-lines, lists, limits,
    cooldowns, repeats and ends as ever. What cannot be known from what was stored is said at the end.
    """
    end = min(until or time.time(), time.time())
    if since >= end:
        raise Stop(Exit.USAGE, "cannot look at a time that ends before it begins\nWrite for example --since 7d --until 1d")
    sets = _sets(given, directory, against)
    with reading(given, db) as (reader, _):
        made = _Backtest(given, sets, (since, end), as_set=as_set).run(reader)
    policy_backtest_show.show(given, made, limit)
    return Exit.FOUND if exit_code and made.difference else Exit.DONE


# What is compared ---------------------------------------------------------------------------------------------------------


class Sets(NamedTuple):
    """The candidate, and what it is held against: a set, and what it is called; None where none is known."""

    candidate: tuple[Policy, ...]
    running: tuple[Policy, ...] | None
    called: str
    ground: Ground
    config: Config | None


def _sets(given: Given, directory: Path, against: Path | None) -> Sets:
    config = given.read_config() if given.config or given.config_path.exists() else None
    ground, beside = policy_prove.ground(given)
    for one in beside:
        given.show.talk(str(one))
    candidate = _read(given, [directory], ground)
    if against:
        return Sets(candidate, _read(given, [against], ground), str(against), ground, config)
    if config is None:
        return Sets(candidate, None, "", ground, None)
    return Sets(candidate, _read(given, [], ground), f"the policies of {given.config_path}", ground, config)


def _read(given: Given, paths: Sequence[Path], ground: Ground) -> tuple[Policy, ...]:
    """A set that could become live; anything else ends the command with all that is wrong."""
    from agent.grammar.policy_reader import read_policies
    from agent.proving.prove import problems
    from agent.wiring import parse

    files = policy_files.policies(policy_files.texts(policy_files.named(given, paths)))
    with plainly():
        policies, _ = read_policies(files, policy_files.catalogue(given), parse, partial(problems, ground=ground))
    return policies


# The run ------------------------------------------------------------------------------------------------------------------


@dataclass
class Made:
    """What came of it, ready to be shown."""

    since: float
    until: float
    mode: str
    sets: Sets
    candidate: Account
    running: Account | None
    really: Account
    stored: Stored
    took: float = 0.0
    difference: list[Any] = field(default_factory=list)
    reality: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Backtest:
    """One pass over the journal with each set beside the other."""

    def __init__(self, given: Given, sets: Sets, span: tuple[float, float], *, as_set: bool) -> None:
        self._given, self._sets, self._as_set = given, sets, as_set
        self._since, self._until = span

    def run(self, reader: Reader) -> Made:
        from agent.backtest.account import KINDS, Account
        from agent.backtest.compare import differences
        from agent.backtest.gaps import Stored

        begun, since, until = time.monotonic(), self._since, self._until
        stored, candidate, really = Stored(since, until), Account(), Account()
        running = Account() if self._sets.running is not None else None
        replays = [self._replay(reader, self._sets.candidate, candidate)]
        if running is not None and self._sets.running is not None:
            replays.append(self._replay(reader, self._sets.running, running))
        self._feed(reader, replays, stored)
        for one in reader.all_records((*KINDS, *HISTORY), since, until):
            really.hear(one.ts, one.record)
            stored.clock_set += one.record.kind == "clock_set"
            stored.reloads += one.record.kind == "policies" and one.record.body.get("because") == "reloaded"
        mode = "as set" if self._as_set else "enforce"
        made = Made(since, until, mode, self._sets, candidate, running, really, stored, time.monotonic() - begun)
        made.difference = differences(running, candidate) if running is not None else []
        made.reality = differences(really, candidate)
        made.notes = list(self._notes(stored))
        return made

    def _feed(self, reader: Reader, replays: Sequence[Replay], stored: Stored) -> None:
        """Every stored event to every replay, oldest first; those before the beginning only fill the windows."""
        since, until = self._since, self._until
        before = since - max(one.agent.watch.longest() for one in replays)
        told, begun = _Progress(self._given, since, until), False
        for event in reader.all_events(before, until):
            at = event.seen
            if at < since and not begun:
                for one in replays:
                    one.warm(event)
                continue
            if not begun:
                begun = True
                for one in replays:
                    one.begin(since)
            stored.saw(event.kind, at)
            for one in replays:
                one.feed(event)
            told.at(at)
        for one in replays:
            if not begun:
                one.begin(since)
            one.end(until)
        told.over()

    def _replay(self, reader: Reader, policies: Sequence[Policy], account: Account) -> Replay:
        from agent.backtest.replay import Replay, acting

        sets = self._sets
        known = (sets.ground.lifelines, self._known(reader))
        settings = self._settings()
        return Replay(acting(policies, None if self._as_set else "enforce"), settings, known, sets.ground, account.hear)

    def _known(self, reader: Reader) -> State:
        """What people have listed, as it is now; and with the modes that are set, what they have switched at run time."""
        from agent.fold import fold
        from agent.state import State

        state, now = State({}), time.time()
        for one in reader.all_records((*LISTED, *(("mode",) if self._as_set else ()))):
            fold(state, one.record, one.ts)
        for entry in state.lists.over(now):
            del state.lists.entries[entry.list, entry.network, entry.policies]
        return state

    def _settings(self) -> Settings:
        from agent.grammar.config import LIMITS
        from agent.turn import Settings
        from agent.wiring import settings

        if self._sets.config is None:
            return Settings("this host", "enforce", limits=LIMITS, lists=policy_files.catalogue(self._given).lists)
        made = settings(self._sets.config, forced_dry_run=False)
        return made if self._as_set else replace(made, mode="enforce")

    def _notes(self, stored: Stored) -> Iterator[str]:
        from agent.backtest.gaps import notes

        running = self._sets.running
        named = frozenset(kind for one in running for kind in one.kinds()) if running is not None else None
        known: Mapping[str, Any] = policy_files.catalogue(self._given).kinds
        return notes(self._sets.candidate, known, stored, named, self._settings())


class _Progress:
    """How far it is, on stderr, where a person is waiting for more than a second."""

    def __init__(self, given: Given, since: float, until: float) -> None:
        self._shown, self._since, self._until = sys.stderr.isatty() and not given.json, since, until
        self._next, self._count, self._said = time.monotonic() + QUIET, 0, False

    def at(self, seen: float) -> None:
        self._count += 1
        if not self._shown or self._count % 1024 or time.monotonic() < self._next:
            return
        self._next, self._said = time.monotonic() + 0.5, True
        share = (seen - self._since) / (self._until - self._since)
        print(f"\r{self._count:,} events, {min(max(share, 0.0), 1.0):.0%} ", end="", file=sys.stderr, flush=True)

    def over(self) -> None:
        if self._said:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
