"""From agent.yaml to a daemon ready to run: the one place that knows which part goes where.

Everything heavy is imported where it is wanted, since the command line comes through here too.
"""

from __future__ import annotations

import gc
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import __version__
from agent.action import CannotReach, System, discover
from agent.event import Catalogue, Event
from agent.guard import Lifeline, Lifelines
from agent.outside import systems
from agent.people.listed import CONFIGURED
from agent.schema import address

if TYPE_CHECKING:
    from agent.daemon import Daemon
    from agent.evidence.keeper import Keeper
    from agent.evidence.redact import Redactor
    from agent.execute import Keep
    from agent.grammar.config import Config
    from agent.grammar.located import Problem
    from agent.people.silencing import Teller
    from agent.policy import Policy
    from agent.record import Stored
    from agent.state import State
    from agent.turn import Settings

__all__ = ["build", "catalogue", "lifelines", "parse", "read_config_file", "read_policies", "settings", "systems"]

AT_START: Final = (
    "host", "state", "socket", "sensors", "feeds", "intake", "pages", "metrics", "checks", "postgres", "vault", "docker",
    "ssh_ports", "evidence", "canary", "hooks",
)  # fmt: skip
"""What of agent.yaml is taken over at a start only; a reload says so where it has changed."""
STAND_INS: Final = {"office": (address("192.0.2.0/28"),), "monitoring": (address("192.0.2.16/28"),)}
"""Documentation addresses (RFC 5737), which belong to nobody."""


def catalogue(config: Config | None) -> Catalogue:
    """Everything a policy may name here: kinds and actions that are installed, and the lists of agent.yaml.

    Without an agent.yaml, stand-ins take the place of the lists that `contain init` writes, so that shipped policies can be
    checked and tested anywhere.
    """
    import actions
    from agent.grammar.config import with_lists
    from agent.grammar.config_feeds import STAND_IN, USUAL
    from agent.streams.declared import declared

    known = Catalogue(declared(), discover(actions), STAND_INS | dict.fromkeys(USUAL, STAND_IN), frozenset(USUAL))
    return with_lists(known, config) if config else known


def parse(name: str, line: str) -> Sequence[Event]:
    """The events of one raw line, by the parser's name.

    Raises:
        LookupError: there is no such parser; the text names those there are.
    """
    from agent.streams.parser import Scan, discover_parsers

    known = discover_parsers()
    if name not in known:
        raise LookupError(f"no parser `{name}`; known: {', '.join(sorted(known))}")
    return Scan.of([known[name]], "example").events(line.encode() + b"\n", time.time())


def read_config_file(path: Path) -> Config:
    """agent.yaml, checked against the sensors and checks that are installed.

    Raises:
        Problems: something in it is wrong; all of it, with places.
        CannotReach: it cannot be read.
    """
    from agent import checks
    from agent.grammar.config import read_config
    from agent.streams.sender import discover_senders
    from agent.streams.sensor import discover_sensors

    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise CannotReach(f"cannot read {path}: {error.strerror}; `contain init` writes one for this host") from error
    sensors = discover_sensors()
    del sensors["intake"]  # it has a place of its own in agent.yaml
    asked, sent = discover(checks, mark="ask"), discover_senders()
    read = read_config(text, str(path), sensors=sensors, checks=asked, senders=sent, notifiers=_notifiers(text))
    return replace(read, digest=sha256(text.encode(errors="surrogateescape")).hexdigest())


def _notifiers(text: str) -> dict[str, type[Any]]:
    """The types of channels; not looked for where none is named, since their libraries take a while."""
    from agent.notifying.notifier import discover_notifiers

    return discover_notifiers() if "notify" in text else {}


def read_policies(config: Config, learnt: Iterable[Lifeline] = ()) -> tuple[tuple[Policy, ...], list[Problem]]:
    """The policies that agent.yaml names, and warnings on what is allowed but unwise.

    They are proven against agent.yaml and the life-lines that were `learnt`. A start learns none for this: whether the agent
    comes up must not hang on who is logged in just then; the guard knows them whenever something is planned.

    Raises:
        Problems: something is wrong, or could reach what must never be reached; all of it, in all files.
        CannotReach: a directory cannot be read.
    """
    from agent.grammar.config import find
    from agent.grammar.config_hooks import unknown as unknown_hooks
    from agent.grammar.config_windows import unknown
    from agent.grammar.policy_reader import read_policies as read
    from agent.grammar.problem import Problems
    from agent.proving.grounds import ground
    from agent.proving.prove import problems

    known = catalogue(config)
    policies, warnings = read(find(config.policies), known, parse, partial(problems, ground=ground(config, known, learnt)))
    wrong = unknown(config.maintenance, (one.name for one in policies)) + unknown_hooks(policies, config.hooks)
    if wrong:
        raise Problems(wrong)
    return policies, warnings


def lifelines(config: Config, world: Mapping[str, System]) -> Lifelines:
    """The addresses of agent.yaml that are never touched, what this host is at this moment, and what it cannot be without.

    Raises:
        CannotReach: the host does not say who it is; then nobody may act on addresses.
    """
    host: Any = world["host"]
    needs: Any = world["needs"]
    configured = [Lifeline(network, CONFIGURED) for network in config.never_touch]
    here = [Lifeline(one.network, one.why, one.sure) for one in host.lifelines(config.ssh_ports)]
    return Lifelines([*configured, *here, *needs.lines()])


def settings(config: Config, *, forced_dry_run: bool) -> Settings:
    """What agent.yaml says about all policies."""
    from agent.grammar.config_feeds import lists_of
    from agent.turn import Approving, Settings

    return Settings(
        host=config.host or socket.gethostname(),
        mode=config.mode,
        forced="dry_run" if forced_dry_run else None,
        limits=config.limits,
        approving=Approving(config.approvals.wait.total_seconds(), config.approvals.people, config.approvals.by),
        lists=lists_of(config.lists, config.feeds),
        feeds=tuple(config.feeds),
        checks={name: one.question.name for name, one in config.checks.items()},
        hooks={name: one.verify for name, one in config.hooks.items()},
        protected=config.protected,
        on_evidence_failure=config.evidence.on_failure,
        windows=config.maintenance,
        routes=config.routes,
        notifiers=config.notifiers,
    )


def build(
    config: Config,
    *,
    config_path: Path,
    forced_dry_run: bool = False,
    told: Teller,
    saw: Callable[[Event], None] | None = None,
) -> Daemon:
    """The daemon with its state replayed from the journal, ready to `run`.

    `told` hears of every record after its commit, `saw` of every event. A reload reads `config_path` again.

    Raises:
        Problems: the policies are wrong.
        CannotReach: the state directory cannot be written, or a secret cannot be read.
        CannotUseJournal, CannotUseKey: the evidence cannot be kept.
    """
    from agent import canary
    from agent.daemon import CYCLES, Daemon
    from agent.desk import Parts
    from agent.evidence import ship
    from agent.expiry.expire import stand_back
    from agent.expiry.expired import take_over
    from agent.expiry.outlive import Outlive
    from agent.feeds.follow import follow
    from agent.loss.degraded import Memory
    from agent.metrics.serving import Metrics
    from agent.notifying.courier import Courier
    from agent.pages.serving import Pages
    from agent.people.silencing import telling
    from agent.schedule import Schedule, Scheduled
    from agent.sensors.files import placed
    from agent.support.configured import Configured
    from agent.turn import Agent, Reread
    from agent.watching.watch import Watch

    gc.set_threshold(*CYCLES)
    gc.disable()  # what is made until the agent runs stays: no need to look through it
    policies, _ = read_policies(config)
    live = config
    stand_back(config.socket)
    journal, world, keep, redact = _journal(config, lambda: replace(live, never_touch=(*live.never_touch, *agent.added)))
    learn = redact.learn
    state = journal.recall(lambda plain, records: _replayed(plain, records, world))
    journal.begin(time.time(), Memory(state))
    known = catalogue(config)
    file = config.state / canary.FILE
    own = canary.policies(known.actions["block_ip"], file) if config.canary else ()
    agent = Agent(
        settings(config, forced_dry_run=forced_dry_run),
        state,
        Watch((), {}),
        {one.name: one for one in (*policies, *own)},
    )
    outlive = Outlive(agent, socket=config.socket, config=config_path)
    for wrong in take_over(config.socket, journal, agent.state):
        logging.getLogger("agent").warning("%s", wrong)
    every = config.canary.total_seconds()
    rounds = canary.Canary(agent, file, every, lambda source: journal.positions().get(source)) if every else None
    feeds = follow(config, lambda: agent.lifelines.certain, learn)
    sensors = placed(_sensors(config, learn), config.state) | {one.source: one for one in feeds.values()}
    asked = [
        Scheduled(name, one.question, one.every.total_seconds(), one.timeout.total_seconds(), one.about)
        for name, one in config.checks.items()
    ]

    def reread() -> Reread:
        nonlocal live
        fresh = read_config_file(config_path)
        changed = tuple(name for name in AT_START if getattr(fresh, name) != getattr(config, name))
        learnt = lifelines(fresh, world).certain.given
        read = Reread((*read_policies(fresh, learnt)[0], *own), settings(fresh, forced_dry_run=forced_dry_run), changed)
        configured.took(fresh)
        live = fresh  # `never_touch` and `keep_open` are asked for again and again
        return read

    configured = Configured(config_path, config, redact)
    told = telling(agent, told)
    return Daemon(
        Parts(
            agent=agent,
            journal=journal,
            systems=world,
            sensors=canary.beside(sensors, file) if config.canary else sensors,
            schedule=Schedule(asked, world),
            actions=known.actions,
            socket=config.socket,
            reread=reread,
            lifelines=lambda: lifelines(live, world),
            state_kinds=frozenset(name for name, kind in known.kinds.items() if kind.state),
            version=__version__,
            ship=lambda note: str(ship.ship(note)),
            told=rounds.watched(told) if rounds else told,
            keep=keep,
            outlive=outlive,
            canary=rounds,
            saw=saw,
            feeds=feeds,
            courier=Courier(redact.clean, learn),
            pages=Pages(config.pages, config.journal) if config.pages else None,
            metrics=Metrics(config.metrics) if config.metrics else None,
            config_digest=lambda: live.digest,
            configured=configured.shown,
        )
    )


def _sensors(config: Config, learn: Callable[[str], None]) -> dict[str, Any]:
    """The sensors of agent.yaml, and the intake where it names one; `learn` hears each secret of its senders."""
    if config.intake is None:
        return dict(config.sensors)
    from agent.sensors.intake import Intake

    return {**config.sensors, "intake": Intake(config.intake, learn)}


def _journal(config: Config, live: Callable[[], Config]) -> tuple[Keeper, dict[str, System], Keep, Redactor]:
    """The journal, the systems whose secrets it keeps out, where evidence from before an act is kept, and who knows secrets."""
    from agent.evidence.keeper import Keeper
    from agent.evidence.keyring import take_key
    from agent.evidence.place import Place, make_directory
    from agent.evidence.redact import Redactor
    from agent.evidence.store import Store

    host = config.host or socket.gethostname()
    try:
        make_directory(config.state)
        config.socket.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotReach(f"cannot make {error.filename}: {error.strerror}; see `state:` and `socket:` in agent.yaml") from error
    path = config.state / "signing.key"
    taken = take_key(path, config.journal, host)
    redact = Redactor(taken.key.derive("redaction"))
    world = systems(config, redact.learn, live)
    keep = (config.evidence.keep_events.total_seconds(), config.evidence.keep_size)
    journal = Keeper(Place(config.journal, path, config.socket.with_suffix(".spool"), host, keep), taken, redact)
    return journal, world, Store(config.kept, redact).keep, redact


def _replayed(plain: Any, records: Iterable[Stored], world: Mapping[str, System]) -> State:
    from agent.fold import fold
    from agent.snapshot import restore

    state = restore(plain, {name: type(one) for name, one in world.items()})
    for one in records:
        fold(state, one.record, one.ts)
    return state
