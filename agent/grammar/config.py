"""agent.yaml: what this agent watches, asks, must never touch, and where things lie. Read with the machinery of policies.

`read_config` is pure. `find` and `connection` read files, and nothing else here does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from agent.action import CannotReach
from agent.event import Catalogue
from agent.grammar.config_feeds import STAND_IN, USUAL, FeedKeys, feeds
from agent.grammar.config_hooks import HookKeys, hooks
from agent.grammar.config_intake import intake
from agent.grammar.config_keys import (
    ApprovalKeys,
    CheckOptions,
    ConfigKeys,
    DockerKeys,
    EvidenceKeys,
    LimitKeys,
    OpenKeys,
    PostgresKeys,
    Round,
    SensorOptions,
    VaultKeys,
)
from agent.grammar.config_metrics import metrics
from agent.grammar.config_notify import notify
from agent.grammar.config_pages import pages
from agent.grammar.config_windows import windows
from agent.grammar.located import LARGEST, Node, Place, Problem, Problems, did_you_mean, scan
from agent.grammar.pick import Picked, Shelf, pick
from agent.grammar.typed import read, record, values_of
from agent.grammar.version import CONFIG, Steps, lifted
from agent.intake.settings import Settings
from agent.metrics.settings import Settings as Metrics
from agent.notifying.routes import Routes
from agent.pages.settings import Settings as Pages
from agent.people.maintenance import Window
from agent.policy import Limits, Mode, Rate
from agent.schema import Address, spell

LIMITS: Final = Limits(Rate(1000, timedelta(minutes=10)), 2000, timedelta(minutes=1), share=0.5)
"""What all policies together must not exceed, where agent.yaml says nothing."""
MOST_FILES: Final = 2_000
CANARY: Final = timedelta(minutes=5)
_TESTS: Final = re.compile(r"^tests:", re.MULTILINE)
_PASSWORD: Final = re.compile(r"(?<=://)[^\s/@:]*:.*(?=@)|(?<=password)[\"']?\s*[=:].+", re.IGNORECASE)
"""The user and password of a URL, or whatever stands behind the word; rather too much than too little."""


@dataclass(frozen=True)
class Asked:
    """A check with its parameters, how often it is asked, and how long it may take."""

    question: Any
    every: timedelta
    timeout: timedelta
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """All of agent.yaml, typed. `sensors` are instances ready to run; paths are relative to the working directory."""

    host: str = ""
    state: Path = Path("/var/lib/containment-agent")
    socket: Path = Path("/run/containment-agent/agent.sock")
    policies: tuple[Path, ...] = (Path("/etc/containment-agent/policies"),)
    mode: Mode = "dry_run"
    never_touch: tuple[Address, ...] = ()
    lists: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    feeds: Mapping[str, FeedKeys] = field(default_factory=dict)
    limits: Limits = LIMITS
    approvals: ApprovalKeys = field(default_factory=ApprovalKeys)
    sensors: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Asked] = field(default_factory=dict)
    postgres: Mapping[str, PostgresKeys] = field(default_factory=dict)
    vault: VaultKeys | None = None
    docker: DockerKeys | None = None
    protected: tuple[str, ...] = ()
    keep_open: Mapping[str, OpenKeys] = field(default_factory=dict)
    ssh_ports: tuple[int, ...] = (22,)
    evidence: EvidenceKeys = field(default_factory=EvidenceKeys)
    maintenance: tuple[Window, ...] = ()
    intake: Settings | None = None
    hooks: Mapping[str, HookKeys] = field(default_factory=dict)
    pages: Pages | None = None
    metrics: Metrics | None = None
    notifiers: Mapping[str, Any] = field(default_factory=dict)
    """The channels to people, ready to be called."""
    routes: Routes = field(default_factory=Routes)
    canary: timedelta = CANARY
    """How often a line of the agent's own goes the whole way; nothing where it is switched off."""
    digest: str = field(default="", compare=False)
    """SHA-256 of the file, in hex; empty where it was not read from one."""
    notes: tuple[Problem, ...] = field(default=(), compare=False)
    """What is to be written otherwise by and by: the file is of an older version."""

    @property
    def journal(self) -> Path:
        """The file that evidence and state are kept in."""
        return self.state / "journal.db"

    @property
    def kept(self) -> Path:
        """The directory that evidence taken before an act is kept in."""
        return self.state / "evidence"


def read_config(  # noqa: PLR0913 - a shelf of types for each
    text: str,
    name: str,
    steps: Steps = CONFIG,
    /,
    *,
    sensors: Mapping[str, type[Any]],
    checks: Mapping[str, type[Any]],
    senders: Mapping[str, type[Any]] = MappingProxyType({}),
    notifiers: Mapping[str, type[Any]] = MappingProxyType({}),
) -> Config:
    """The configuration in the text of a file called `name`; the others are the types that it may use, by name.

    Raises:
        Problems: something is wrong; all of it. Passwords do not show in the lines that problems quote.
    """
    documents, found = scan(text, name)
    if not documents and not found:  # a full disk or a broken editor leaves such: nothing would be safe from actions
        found.append(Problem(Place(name, 1, 1), "the file is empty", "have one written for this host: contain init"))
    root = lifted(documents[0], steps, found) if documents else None
    found += [
        Problem(other.place, "a second document", "agent.yaml is a single one; take the --- away") for other in documents[1:]
    ]
    config = _ConfigReader(root, found, sensors, checks, senders, notifiers).read() if root else None
    if config is None:
        raise Problems([_without_password(one) for one in found])
    return config


def with_lists(catalogue: Catalogue, config: Config) -> Catalogue:
    """The catalogue with the lists of agent.yaml, which policies name, and stand-ins for those that others keep."""
    fed = {name for name in (*USUAL, *config.feeds) if name not in config.lists}
    named = {**dict.fromkeys(sorted(fed), STAND_IN), **config.lists}
    known = replace(catalogue, checks=frozenset(config.checks), channels=frozenset(config.routes.channels))
    return replace(known, lists=named, feeds=frozenset(fed))


class _ConfigReader:
    """Reads the one document; whatever is wrong goes to `found`."""

    def __init__(
        self,
        root: Node,
        found: list[Problem],
        sensors: Mapping[str, type[Any]],
        checks: Mapping[str, type[Any]],
        senders: Mapping[str, type[Any]],
        notifiers: Mapping[str, type[Any]],
    ) -> None:
        self.root, self.found, self.senders, self.notifiers = root, found, senders, notifiers
        self.sensor_shelf = Shelf("sensor type", "sensor", sensors, SensorOptions)
        self.check_shelf = Shelf("check type", "check", checks, CheckOptions)

    def read(self) -> Config | None:
        given = values_of(self.root, ConfigKeys, self.found)
        if "never_touch" in (given.get("lists") or ()):
            place = self.root.pairs["lists"].value.pairs["never_touch"].key.place
            hint = "write it at the top of agent.yaml: never_touch: [198.51.100.7]"
            self.found.append(Problem(place, "a list called `never_touch` would protect nobody", hint))
        systems = given.get("systems")
        postgres = (systems.postgres or {}) if systems is not None else {}
        told = notify(given.get("notify"), self.root, self.notifiers, self.found)
        made: dict[str, Any] = {
            "sensors": self._sensors(_readable(given.get("sensors"))),
            "checks": self._checks(_readable(given.get("checks")), postgres if "systems" not in given or systems else None),
            "postgres": postgres,
            "vault": systems.vault if systems is not None else None,
            "docker": systems.docker if systems is not None else None,
            "feeds": feeds(given.get("feeds"), self.root, self.found),
            "limits": _limits(given.get("limits")),
            "canary": self._canary(given.get("canary")),
            "intake": intake(given.get("intake"), given.get("socket") or Config.socket, self.senders, self.found),
            "pages": pages(given.get("pages")),
            "metrics": metrics(given.get("metrics")),
            "notifiers": told.notifiers,
            "routes": told.routes,
            "hooks": hooks(given.get("hooks"), self.root, list(given.get("checks") or ()), self.found),
            "maintenance": windows(given.get("maintenance"), self.found),
        }
        if any(one.level == "error" for one in self.found):
            return None
        plain = {name: value for name, value in given.items() if name in _PLAIN}
        return Config(**plain, **made, notes=tuple(map(_without_password, self.found)))

    def _canary(self, node: Node | None) -> timedelta:
        if node is None:
            return CANARY
        if node.value in ("off", "0"):
            return timedelta()
        span: timedelta | None = read(node, Round, self.found)
        return span or timedelta()

    def _sensors(self, nodes: Mapping[str, Node]) -> dict[str, Any]:
        made = {name: self._instance(name, node, self.sensor_shelf)[1] for name, node in nodes.items()}
        for name in made:
            if name == "intake" or name.startswith("feed:"):
                hint = "the agent's own intake and lists go by that name; call it something else"
                self.found.append(Problem(nodes[name].place, f"no sensor can be called `{name}`", hint))
        first: dict[str, str] = {}
        for name, sensor in made.items():
            source = getattr(sensor, "source", name)
            if first.setdefault(source, name) != name and sensor is not None:
                hint = "one sensor can have several parsers, as in parsers: [sshd, sudo]"
                self.found.append(Problem(nodes[name].place, f"`{name}` reads the same as `{first[source]}`", hint))
        return made

    def _checks(self, nodes: Mapping[str, Node], postgres: Mapping[str, Any] | None) -> dict[str, Asked]:
        """The checks; `postgres` are the known instances, None where they could not be read."""
        made = {}
        for name, node in nodes.items():
            picked, question = self._instance(name, node, self.check_shelf)
            if picked is None or question is None:
                continue
            every = picked.options.get("every") or _EVERY
            timeout = picked.options.get("timeout") or min(_TIMEOUT, every)
            if timeout > every:
                place = node.pairs["timeout" if "timeout" in node.pairs else "every"].value.place
                text = f"a timeout of {spell(timeout)} is longer than the {spell(every)} from one time to the next"
                self.found.append(Problem(place, text, f"write at most {spell(every)}, or ask less often"))
            if postgres is not None:
                self._known_instance(picked, question, postgres)
            made[name] = Asked(question, every, timeout, picked.options.get("about") or ())
        return made

    def _instance(self, name: str, node: Node, shelf: Shelf) -> tuple[Picked | None, Any]:
        """What a sensor or a check names, and the instance of it; None where that could not be read."""
        if name in shelf.choices and isinstance(node.value, dict) and not node.value.keys() & shelf.choices.keys():
            hint = f"name it, and put the type inside: my-{name}: {{{name}: {node.written}}}"
            self.found.append(Problem(node.place, f"`{name}` is a {shelf.noun}, and stands where a name belongs", hint))
            return None, None
        picked = pick(node, shelf, self.found)
        if picked is None or picked.name is None:
            return picked, None
        given = Node({}, picked.key.place) if picked.given.empty else picked.given
        owner = Node(picked.name, picked.key.place)
        return picked, record(given, shelf.choices[picked.name], self.found, picked.excused, owner)

    def _known_instance(self, picked: Picked, question: Any, postgres: Mapping[str, Any]) -> None:
        if "postgres" not in getattr(question, "needs", {}) or question.instance in postgres:
            return
        place = picked.given.pairs["instance"].value.place if "instance" in picked.given.pairs else picked.key.place
        hint = did_you_mean(question.instance, postgres) or f"add it: systems: {{postgres: {{{question.instance}: {{dsn: …}}}}}}"
        self.found.append(Problem(place, f"no PostgreSQL is called `{question.instance}` under systems", hint))


_EVERY: Final = timedelta(seconds=10)
_TIMEOUT: Final = timedelta(seconds=3)
_MADE: Final = frozenset(
    {"sensors", "checks", "postgres", "vault", "docker", "limits", "canary", "hooks", "maintenance", "intake", "pages", "feeds"}
    | {"notifiers", "routes", "metrics", "digest", "notes"}
)
_PLAIN: Final = frozenset(one.name for one in fields(Config)) - _MADE


def _readable(nodes: Mapping[str, Node | None] | None) -> dict[str, Node]:
    """The nodes that are not broken."""
    return {name: node for name, node in (nodes or {}).items() if node is not None}


def _limits(keys: LimitKeys | None) -> Limits:
    if keys is None:
        return LIMITS
    return Limits(
        keys.max or LIMITS.max,
        keys.max_active or LIMITS.max_active,
        keys.cooldown or LIMITS.cooldown,
        share=keys.max_share or LIMITS.share,
    )


def _without_password(problem: Problem) -> Problem:
    """The problem, with stars for passwords in everything it quotes, as many as there were characters."""
    place = replace(problem.place, source=_stars(problem.place.source))
    return replace(problem, place=place, text=_stars(problem.text), hint=_stars(problem.hint))


def _stars(text: str) -> str:
    return _PASSWORD.sub(lambda found: "*" * len(found[0]), text)


# Files -------------------------------------------------------------------------------------------------------------------


def find(paths: Sequence[Path]) -> dict[str, str]:
    """The policy files at the paths by name: YAML files, those inside directories included; files of policy tests are left out.

    Bytes that are no UTF-8 stay in as lone surrogates, so that the reader can say where they are.

    Raises:
        CannotReach: a path is not there, cannot be read, or there are more than 2,000 files.
    """
    files: dict[str, str] = {}
    for path in paths:
        for file in inside(path):
            text = _text(file)
            if not is_tests(text):
                files[str(file)] = text
        if len(files) > MOST_FILES:
            raise CannotReach(f"cannot read policies: more than {MOST_FILES} files in {path}; is this the right directory?")
    return files


def inside(path: Path) -> Sequence[Path]:
    """The YAML files of a directory and those below it; a path to a file stands for itself."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml") and one.is_file())


def is_tests(text: str) -> bool:
    """Whether a file holds tests of policies rather than policies."""
    return _TESTS.search(text) is not None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise CannotReach(f"cannot read {path}: {error.strerror}; see `policies:` in agent.yaml") from error


def connection(name: str, one: PostgresKeys) -> str:
    """The connection string for libpq, with the password of `password_file` in it: never log it.

    Raises:
        CannotReach: the password file cannot be read, or any user of this host can read it.
    """
    from psycopg.conninfo import make_conninfo

    given = {"host": one.host, "port": one.port, "user": one.user, "dbname": one.database}
    if one.password_file is not None:
        given["password"] = hidden(one.password_file, f"PostgreSQL {name}")
    return make_conninfo(one.dsn, **{key: value for key, value in given.items() if value})


def hidden(path: Path, whom: str) -> str:
    """What a file holds that only the agent may read: the password or secret id for `whom`.

    Raises:
        CannotReach: it cannot be read, or any user of this host can read it.
    """
    try:
        if path.stat().st_mode & 0o007:
            raise CannotReach(f"cannot log in to {whom}: everybody can read {path}; chmod o= {path}")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CannotReach(f"cannot log in to {whom}: cannot read {path}: {why}") from error
