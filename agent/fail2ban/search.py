"""What a filter's expressions find in a text. Nothing is remembered from one text to the next: that is what judge.py is for.

So a process of its own can search (child.py), be ended at any line and begin anew, and no connection is forgotten by it. This
module runs there, too, and imports nothing but `re`, so that such a process stays small.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
"""As typing's, which costs a megabyte."""
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any, Final, TypeAlias

    Look: TypeAlias = tuple["Expression | None", "re.Match[str] | None", "re.Match[str] | None", str, "str | None"]
    """The expression that matched and its match, prefregex's match, what that left of the text, and the connection it told.

    Without an expression, ignoreregex matched before any other; with one and without its match, only prefregex did.
    """
    Told: TypeAlias = tuple[bool, "dict[str, str | None] | None", list[int], "list[int] | None", str]
    """A look as plain data: whether the text is to be ignored; the groups; the lines that matched, by number; those that are
    to be held for the next text, None for all; and what prefregex left of the text."""
    Entry: TypeAlias = tuple["Expression", "Callable[[str], re.Match[str] | None]", str, "tuple[str, ...]", bool]

_MERGED: Final = re.compile(r"(alt_|tuple_)(.*?)(?:_\d+)?")
_RENAMED: Final = {"id": "fid", "port": "fport"}


class Expression:
    """One expression, ready to search: `find` answers with the first match in a text.

    Attributes:
        needs: a text without any of these does not match, which is quicker to see; without needs anything may match.
        anchored: it can match at the start of a text only.
        begins: codes of the ASCII characters that a text it matches can begin with, if it begins with one; None for any.
        sets: groups that hold some text after every match.
    """

    def __init__(
        self,
        pattern: re.Pattern[str],
        needs: Sequence[str] = (),
        begins: Collection[int] | None = None,
        *,
        anchored: bool = False,
        sets: Collection[str] = (),
    ) -> None:
        self.pattern, self.needs, self.anchored, self.begins, self.sets = pattern, tuple(needs), anchored, begins, sets
        self.find = pattern.match if anchored else pattern.search
        self.names = tuple(pattern.groupindex)
        self.skips = tuple(name for name in self.names if name.startswith("skiplines"))
        self._merged = _merged(self.names)

    def written(self) -> list[Any]:
        """What `read` makes the same expression of, in another process; what is only for speed is left out."""
        return [self.pattern.pattern, self.pattern.flags, self.needs, self.anchored]

    @classmethod
    def read(cls, written: Sequence[Any]) -> Expression:
        """See `written`."""
        text, flags, needs, anchored = written
        return cls(re.compile(text, flags), needs, anchored=anchored)

    def search(self, text: str) -> re.Match[str] | None:
        """The first match in the text."""
        for need in self.needs:
            if need in text:
                return self.find(text)
        return None if self.needs else self.find(text)

    def groups(self, found: re.Match[str]) -> dict[str, str | None]:
        """What its groups hold; `alt_user_1` stands in for an empty `user`, and `tuple_id` is joined to `id`."""
        held = found.groupdict()
        for name, target in self._merged:
            text = held.get(name)
            if name.startswith("tuple_"):
                held[target] = f"{held.get(target) or ''} {text or ''}".strip()
            elif text and not held.get(target):
                held[target] = text
        return held


def _merged(names: Iterable[str]) -> list[tuple[str, str]]:
    found = [(name, _MERGED.fullmatch(name)) for name in names if len(name) > len("alt_")]
    pairs = [(name, one[1], _RENAMED.get(one[2].lower(), one[2].lower())) for name, one in found if one]
    alternatives = sorted((name, target) for name, kind, target in pairs if kind == "alt_")
    return alternatives + sorted((name, target) for name, kind, target in pairs if kind == "tuple_")


class Search:
    """All expressions of one filter, over the lines that it looks at together."""

    def __init__(
        self, fail: Sequence[Expression], ignore: Sequence[Expression] = (), prefix: Expression | None = None, lines: int = 1
    ) -> None:
        """`lines`: how many it looks at together, at most."""
        self.fail, self.ignore, self.prefix, self.lines = tuple(fail), tuple(ignore), prefix, lines
        self._ignores_first = 0 < len(ignore) < len(fail) - 2
        names = prefix.names if prefix else ()
        self._plain = not any(name.startswith(("alt_", "tuple_")) for name in names)
        self._content = "content" in names
        self._names_connections = self._plain and lines == 1 and self._content and "mlfid" in names
        self._first: dict[str, tuple[Entry, ...]] = {}

    def written(self) -> list[Any]:
        """What `read` makes the same search of, in another process."""
        prefix = self.prefix.written() if self.prefix else None
        return [[one.written() for one in self.fail], [one.written() for one in self.ignore], prefix, self.lines]

    @classmethod
    def read(cls, written: Sequence[Any]) -> Search:
        """See `written`."""
        fail, ignore, prefix, lines = written
        each = [[Expression.read(one) for one in some] for some in (fail, ignore)]
        return cls(each[0], each[1], Expression.read(prefix) if prefix else None, lines)

    def look(self, texts: Sequence[str], known: Mapping[str, Any] | None = None) -> Look | None:
        """What matches in these lines together; None where nothing does.

        `known` are connections that something is remembered of. What could only end one that is not among them is left out,
        as it would mean nothing.
        """
        text = texts[0] + "\n" if len(texts) == 1 else "\n".join(texts) + "\n"
        if self._ignores_first and any(one.search(text) for one in self.ignore):
            return None, None, None, "", None
        before, content, name = None, "", None
        if self.prefix is not None:
            before = self.prefix.search(text)
            if before is None:
                return None
            if self._names_connections:
                name, content = before.group("mlfid", "content")
            elif self._content:
                content = (before["content"] if self._plain else self.prefix.groups(before)["content"]) or ""
            text = content + "\n" if content else text
        for one, find, need, needs, ends in self._first.get(text[0]) or self._that_begin(text[0]):
            if need not in text or (needs and not any(other in text for other in needs)):
                continue
            if ends and known is not None and name is not None and name not in known:
                break
            found = find(text)
            if found is not None:
                return one, found, before, content or "", name
        return (self.fail[0], None, before, content, name) if content and self.lines > 1 else None

    def told(self, look: Look, texts: Sequence[str]) -> Told:
        """The look as plain data. The lines that an expression matched go, and with ignoreregex they go unheard."""
        one, found, before, content, _ = look
        if one is None or found is None:
            return one is None, None, [], None, content
        matched, rest = _split(one, found, texts) if self.lines > 1 and len(texts) > 1 else ([0], [])
        if self.ignore:
            text = "\n".join([texts[at] for at in matched]) + "\n" if self.lines > 1 else found.string
            if any(ignored.search(text) for ignored in self.ignore):
                return True, None, [], rest, content
        return False, self.groups(one, found, before), matched, rest, content

    def groups(self, one: Expression, found: re.Match[str], before: re.Match[str] | None) -> dict[str, str | None]:
        """What prefregex's groups and the expression's hold together."""
        if before is None or self.prefix is None:
            return one.groups(found)
        held = self.prefix.groups(before)
        held.pop("content", None)
        held.update(one.groups(found))
        return held

    def _that_begin(self, first: str) -> tuple[Entry, ...]:
        """The expressions for a text that begins so, in order; with each whether it and all behind it only end something."""
        code = ord(first)
        fit = [one for one in self.fail if one.begins is None or code > 127 or code in one.begins]
        only = [self.ends(one) for one in fit]
        found = tuple((one, one.find, *_need(one), all(only[at:])) for at, one in enumerate(fit))
        if code <= 127:
            self._first[first] = found
        return found

    def ends(self, one: Expression) -> bool:
        """Whether all that it can do is to end a connection: what is not known cannot end, and nothing is left of it."""
        return "mlfforget" in one.sets and ("nofail" in one.sets or "mlfgained" in one.sets) and self._says_no_more(one)

    def helps(self, one: Expression) -> bool:
        """Whether it is no failure by itself, and only tells something of a connection."""
        return "nofail" in one.sets and self._says_no_more(one) and not {"mlfforget", "mlfgained"} & {*one.names}

    def _says_no_more(self, one: Expression) -> bool:
        if not self._names_connections or self.prefix is None:
            return False
        strange = ("mlfpending", "mlfid", "users", "content")
        return not any(name.startswith(("tuple_", "alt_mlf", "alt_nofail")) or name in strange for name in one.names) and not any(
            name in ("nofail", "mlfforget", "mlfgained", "mlfpending", "users") for name in self.prefix.names
        )


def _need(one: Expression) -> tuple[str, tuple[str, ...]]:
    """The only text that it needs, or none; and where there are several, those of which one is enough."""
    return (one.needs[0], ()) if len(one.needs) == 1 else ("", one.needs)


def _split(one: Expression, found: re.Match[str], texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """The lines that an expression matched, and those that it did not; what <SKIPLINES> went over belongs to the latter."""
    text = found.string
    first = text.count("\n", 0, text.rfind("\n", 0, found.start() + 1) + 1)
    last = text.count("\n", 0, text.find("\n", found.end() - 1) + 1 or len(text))
    every = list(range(len(texts)))
    matched, rest = every[first:last], every[:first]
    skipped = "".join(found[name] or "" for name in one.skips).splitlines()
    at = 0
    for line in skipped:
        place = next((number for number, other in enumerate(matched[at:]) if texts[other] == line), None)
        if place is not None:
            rest.append(matched.pop(at + place))
            at += place
    return matched, [*rest, *every[last:]]
