"""Types, defaults and examples of keys in people's words, and the few forms of Markdown that the pages need. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import TypeAdapter

from agent.grammar.located import Node
from agent.grammar.typed import Key, is_record
from agent.schema import Duration, Flag, Means, Size, Ttl, spell

_AS_IN: Final = re.compile(r"as in (?P<example>\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\{.*\}|`[^`]*`|[^;,:]+?)(?:$|[;,:] | for | where )")
_TYPES: Final[Mapping[Any, str]] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", Flag: "true or false",
    Duration: "duration", Size: "size", Ttl: "ttl", timedelta: "duration",
}  # fmt: skip
_MEANINGS: Final = {"address": "address or network", "duration": "duration", "port": "port", "unit": "systemd unit"}
_SHAPES: Final = {dict: "map", list: "list", bool: "true or false", int: "whole number", str: "text"}
_USUAL: Final = {
    "duration": "10m", "true or false": "true", "port": "443", "address or network": "192.0.2.10",
    "systemd unit": "nginx.service", "whole number": "5", "number": "90", "size": "1GiB", "ttl": "1h",
}  # fmt: skip
_PATHS: Final = {
    "socket": "/run/containment-agent/agent.sock",
    "state": "/var/lib/containment-agent",
    "file": "/etc/containment-agent/drop.txt",
}
_SIZES: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


# Types ----------------------------------------------------------------------------------------------------------------


def kind(key: Key) -> str:
    """The type of a key's value; where only its reader knows, the shape of its example."""
    shape = _SHAPES.get(type(yaml.safe_load(example(key))), "text")
    said = shape if key.hint is Node else _kind(key.hint)
    return shape if shape == "text" and said.startswith(("whole number", "number")) else said


def _kind(hint: Any) -> str:
    if hint in _TYPES:
        return _TYPES[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in inner if one is not NoneType))
    if origin is Literal:
        return _choice([str(one) for one in inner if one != ""])
    if origin in (tuple, list, frozenset):
        return f"list of {_plural(_kind(inner[0]))}" if inner[0] is not Node else "list"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "map of names" if inner[1] is Node or is_record(inner[1]) else f"map of names to {_plural(_kind(inner[1]))}"
    return "map" if is_record(hint) or is_dataclass(hint) else "text"


def _annotated(base: Any, notes: Sequence[Any]) -> str:
    means = next((one.name for one in notes if isinstance(one, Means)), "")
    if means in _MEANINGS:
        return _MEANINGS[means]
    made = TypeAdapter(Annotated[base, *notes]).json_schema() if base is not Node else {}
    if "KiB" in str(made.get("pattern")):
        return "size"
    said = _kind(base)
    if said in ("whole number", "number"):
        low, high = made.get("minimum", made.get("exclusiveMinimum")), made.get("maximum", made.get("exclusiveMaximum"))
        least = f" from {_number(low)}" if low is not None else ""
        return f"{said}{least}{f' to {_number(high)}' if high is not None else ''}"
    return "text" if made.get("type") == "string" and said == "map" else said


def _number(value: float) -> str:
    return f"{value:,g}" if value < 1e6 else f"{int(value):,}"


def _plural(word: str) -> str:
    irregular = {"address or network": "addresses and networks", "text": "texts", "true or false": "true or false"}
    return irregular.get(word, word if word.startswith(("list", "map of", "`")) else f"{word}s")


def _choice(words: Sequence[str]) -> str:
    quoted = [f"`{one}`" for one in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


# Defaults and examples ------------------------------------------------------------------------------------------------------


def default(key: Key) -> str:
    """What holds where nothing is said: `needed` where something must be, nothing where the meaning says it."""
    if key.required:
        return "needed"
    value = key.default
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and kind(key) == "size":
        return next(f"{value // unit}{name}" for name, unit in _SIZES if value % unit == 0)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def example(key: Key) -> str:
    """A value as it stands in YAML: the key's own example, what its line ends with, or one of its type."""
    if key.example:
        return key.example
    if found := _AS_IN.search(key.about):
        return found["example"].strip("` ")
    if get_origin(key.hint) is Literal:
        return str(next(one for one in get_args(key.hint) if one not in ("", key.default)))
    said = _kind(key.hint) if key.hint is not Node else ""
    if said == "path":
        return _PATHS.get(key.name, f"/etc/containment-agent/{key.name.removesuffix('_file').replace('_', '-')}")
    return next((value for name, value in _USUAL.items() if said.startswith(name)), "")


# Markdown -----------------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in its cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(one) for one in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def code(text: str) -> str:
    """Inline code; nothing for nothing."""
    if not text:
        return ""
    ticks = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str, info: str = "") -> str:
    """A block of code."""
    return f"```{info}\n{text.rstrip()}\n```\n"


def prose(cls: type[Any]) -> str:
    """A class's own words, as paragraphs; angle brackets are no tags."""
    return (inspect.getdoc(cls) or "").replace("<", "&lt;").rstrip() + "\n"


def first(cls: type[Any]) -> str:
    """The first paragraph of a class's own words, in one line."""
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def anchor(title: str) -> str:
    """A heading's anchor, by GitHub's rule."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
