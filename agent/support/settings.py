"""Every setting that holds, with its value in the words of agent.yaml and where it comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_origin

from agent.evidence.redact import Redactor, telling
from agent.grammar.config import Config
from agent.grammar.config_keys import ApprovalKeys, ConfigKeys, EvidenceKeys, LimitKeys
from agent.grammar.located import Node, Pair
from agent.grammar.typed import Key, is_record, supported
from agent.schema import Size, spell
from agent.support.secrets import HIDDEN, hidden_items, secret_files

DEFAULT: Final = "default"
_ALWAYS: Final = {"limits": LimitKeys, "approvals": ApprovalKeys, "evidence": EvidenceKeys}
"""Maps of agent.yaml whose values hold whether or not they are written."""
_CREDENTIALS: Final = "a secret of systemd's, in the credentials directory"
_IN_A_FILE: Final = "a secret, in that file"
_TAG: Final = re.compile(r"\[redacted:[0-9a-f]{12}\]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./$<>%][A-Za-z0-9_./$<>=%+@-]*\Z")
_AMBIGUOUS: Final = frozenset({"yes", "on", "no", "off", "null", "true", "false"})


class Setting(NamedTuple):
    """`path` are its keys from the outermost on, `value` is YAML on one line; empty where nothing is set and nothing holds.

    `source` is `default`, or the place in a file. `secret` says where a secret is that it leads to; empty where there is none.
    """

    path: tuple[str, ...]
    value: str
    source: str
    secret: str = ""

    @property
    def key(self) -> str:
        """Its name, as in `limits.max`."""
        return ".".join(self.path)


@dataclass(frozen=True)
class _Reading:
    """What settings are made from. `host` is this host's own name."""

    config: Config
    redact: Redactor
    host: str

    def top(self, root: Node) -> Iterator[Setting]:
        """All of them, in the order of the grammar."""
        for name, key in supported(ConfigKeys).items():
            pair = root.pairs.get(name)
            if name in _ALWAYS:
                yield from self.record(pair, _ALWAYS[name], (name,))
            elif pair is not None:
                yield from self.given(pair, key.hint, (name,))
            else:
                yield Setting((name,), self.default(name, key), DEFAULT)

    def record(self, pair: Pair | None, cls: type[Any], path: tuple[str, ...]) -> Iterator[Setting]:
        """A map whose keys are known; those that are not written have their defaults."""
        defaults = {one.name.rstrip("_"): one for one in fields(cls)}
        for name, key in supported(cls).items():
            if pair is not None and name in pair.value.pairs:
                yield from self.given(pair.value.pairs[name], key.hint, (*path, name))
                continue
            one = defaults[name]
            plain = (
                one.default if one.default is not MISSING else one.default_factory() if callable(one.default_factory) else None
            )
            yield Setting(
                (*path, name), self.default(".".join((*path, name)), key, None if plain in ("", (), {}) else plain), DEFAULT
            )

    def given(self, pair: Pair, hint: Any, path: tuple[str, ...]) -> Iterator[Setting]:
        """What is written."""
        value = pair.value
        if hint is Node and value.pairs:
            for name, one in value.pairs.items():
                yield self.written(one.value, (*path, name))
            if path[0] == "checks":
                yield from self.asked(path, value)
        elif is_record(hint) and value.pairs:
            yield from self.record(pair, hint, path)
        elif _is_mapping(hint) and value.pairs:
            for name, one in value.pairs.items():
                yield from self.given(one, get_args(hint)[1], (*path, name))
        else:
            yield self.written(_absolute(value, hint), path)

    def written(self, node: Node, path: tuple[str, ...]) -> Setting:
        """A value with its place."""
        files = list(secret_files(node, path[-1]))
        secret = "" if not files else _CREDENTIALS if any(map(_credential, files)) else _IN_A_FILE
        return Setting(path, self.shown(node, path[-1]), f"{node.place.file}:{node.place.line}", secret)

    def asked(self, path: tuple[str, ...], written: Node) -> Iterator[Setting]:
        """How often a check is asked, and how long it may take, where that is not written."""
        for option in ("every", "timeout"):
            if option not in written.pairs:
                yield Setting((*path, option), spell(getattr(self.config.checks[path[-1]], option)), DEFAULT)

    def default(self, name: str, key: Key, plain: Any = None) -> str:
        """What holds where nothing is written."""
        group, _, inner = name.partition(".")
        if name == "host":
            return quoted(self.host)
        if name in ("version", "lists", "protected", "keep_open"):
            return {"version": "1", "protected": "[]"}.get(name, "{}")
        if group == "limits":
            held = getattr(self.config.limits, "share" if inner == "max_share" else inner)
            return f"{held:.0%}" if isinstance(held, float) else _spelled(held, key.hint)
        if not inner and hasattr(self.config, name) and name not in ("systems", "notify"):
            held = getattr(self.config, name)
            return "" if held is None or held == {} else _spelled(held, key.hint)
        return "" if plain is None else _spelled(plain, key.hint)

    def shown(self, node: Node, name: str) -> str:
        """A value on one line, without the secrets in it."""
        if isinstance(node.value, dict):
            inner = (f"{quoted(key)}: {self.shown(pair.value, key)}" for key, pair in node.value.items())
            return f"{{{', '.join(inner)}}}"
        if isinstance(node.value, list):
            hidden = hidden_items(node.value)
            items = (quoted(HIDDEN) if number in hidden else self.shown(one, name) for number, one in enumerate(node.value))
            return f"[{', '.join(items)}]"
        if telling(name) and node.value:
            return quoted(HIDDEN)
        return quoted(_TAG.sub("[redacted]", self.redact.text(node.value)), plain=node.plain)


def settings(root: Node, config: Config, redact: Redactor, host: str) -> list[Setting]:
    """Every setting of the document that `config` was read from; `redact` takes secrets out of values."""
    return list(_Reading(config, redact, host).top(root))


def as_yaml(found: list[Setting], about: str) -> str:
    """The settings as an agent.yaml that says all of it; paths below sensors and checks are as they were written."""
    lines = [f"# {about}"]
    open_: tuple[str, ...] = ()
    for one in found:
        *parents, name = one.path
        same = next((n for n, (a, b) in enumerate(zip(open_, parents, strict=False)) if a != b), min(len(open_), len(parents)))
        lines += [f"{'  ' * depth}{quoted(parents[depth])}:" for depth in range(same, len(parents)) if one.value]
        open_ = tuple(parents) if one.value else open_[:same]
        if one.value:
            lines.append(f"{'  ' * len(parents)}{quoted(name)}: {one.value}    # {one.source}")
        elif not parents:
            lines.append(f"# {name}:    # nothing, by {one.source}")
    return "\n".join(lines) + "\n"


def quoted(text: str, *, plain: bool = False) -> str:
    """A text as YAML, in quotes unless it cannot be anything else; `plain` says that it stood without quotes."""
    if _PLAIN.match(text) and (plain or text.lower() not in _AMBIGUOUS):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'


def _credential(file: Path) -> bool:
    """Whether systemd has put it there: LoadCredential=, systemd.exec(5)."""
    own = os.environ.get("CREDENTIALS_DIRECTORY")
    return file.is_relative_to("/run/credentials") or bool(own and file.is_relative_to(own))


def _absolute(node: Node, hint: Any) -> Node:
    """A path as it is meant, wherever the line is moved to."""
    if hint is Path and isinstance(node.value, str):
        return replace(node, value=str((Path(node.place.file).parent / node.value).absolute()))
    if get_args(hint)[:1] == (Path,) and isinstance(node.value, list):
        return replace(node, value=[_absolute(one, Path) for one in node.value])
    return node


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _spelled(value: Any, hint: Any) -> str:
    """A default in the words of agent.yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return spell(value) if value else "off"
    if isinstance(value, int) and hint == Size:
        unit, shift = next(one for one in (("GiB", 30), ("MiB", 20), ("KiB", 10)) if value % (1 << one[1]) == 0)
        return f"{value >> shift}{unit}"
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(_spelled(one, None) for one in value)}]"
    text = str(value)
    return text if re.fullmatch(r"\d+ per \d+\w+", text) else quoted(text)
