"""A Markdown document taken apart: its blocks of code with what is said of them, its hidden set-up, its links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
KNOWN: Final = {
    "sh": {"box", "attacker", "shown"},
    "console": {"box", "compared"},
    "yaml": {"part", "prometheus", "alertmanager", "grafana", "box"},
    "ini": {"systemd", "box"},
    "json": {"box"},
    "python": {"box"},
    "nft": set[str](),
    "sql": set[str](),
    "text": {"box"},
    "": set[str](),
}
"""Languages, and the words that may stand after them beside file=… and append=…."""
_FENCE: Final = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)")
_HEADING: Final = re.compile(r"#{1,6} +(?P<title>.+?) *#*")
_LINK: Final = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)(?: \"[^\"]*\")?\)")
_HIDDEN: Final = re.compile(r"<!-- *(?P<lang>sh)(?P<words>(?: [a-z]+)*): *(?P<text>.*?) *-->", re.DOTALL)
_BARE: Final = re.compile(r"<!-- *box: bare *-->")


@dataclass(frozen=True)
class Block:
    """A block of code, or hidden set-up. `words` stand after its language, `line` is the first of its text."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands: in the sandbox, in the box, in the box as its attacker."""
        return next((one for one in ("attacker", "box") if one in self.words), "sandbox")

    @property
    def runs(self) -> bool:
        """Whether it is carried out."""
        return (self.language == "sh" and "shown" not in self.words) or "compared" in self.words or bool(self.target)

    @property
    def target(self) -> tuple[str, str]:
        """`file` or `append`, and the path that its text is written to; nothing for most."""
        return next(((how, path) for one in self.words for how, eq, path in [one.partition("=")] if eq), ())  # type: ignore[return-value]


@dataclass(frozen=True)
class Document:
    """All that is checked of one document."""

    path: Path
    blocks: tuple[Block, ...]
    links: tuple[tuple[int, str], ...]
    anchors: frozenset[str]
    bare: bool
    wrong: tuple[str, ...]

    @property
    def name(self) -> str:
        """As in docs/guide.md."""
        return str(self.path.relative_to(ROOT))

    def at(self, block: Block) -> str:
        """As in docs/guide.md:41."""
        return f"{self.name}:{block.line}"

    def running(self, *places: str) -> list[Block]:
        """The blocks that are carried out in these places, in order."""
        return [one for one in self.blocks if one.runs and one.place in places]


def documents() -> list[Document]:
    """README.md and all below docs/."""
    return [document(one) for one in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]


def document(path: Path) -> Document:
    """Take it apart; what cannot be understood is in `wrong`."""
    text = path.read_text(encoding="utf-8")
    blocks, prose, wrong = _blocks(text)
    blocks += [_hidden(found, prose) for found in _HIDDEN.finditer(prose)]
    wrong += [one for block in blocks for one in _unknown(block)]
    return Document(
        path,
        tuple(sorted(blocks, key=lambda one: one.line)),
        tuple(_links(prose)),
        frozenset(_anchors(prose)),
        bool(_BARE.search(prose)),
        tuple(wrong),
    )


def _blocks(text: str) -> tuple[list[Block], str, list[str]]:
    """The fenced blocks, and the text with blank lines in their place, so that its lines keep their numbers."""
    blocks: list[Block] = []
    prose: list[str] = []
    wrong: list[str] = []
    opened: re.Match[str] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.fullmatch(line.rstrip())
        if opened is None and fence:
            opened, inside, begun = fence, [], number + 1
        elif opened is not None and fence and fence["ticks"] == opened["ticks"] and not fence["info"].strip():
            language, *words = opened["info"].split() or [""]
            blocks.append(Block(language, tuple(words), "".join(f"{one}\n" for one in inside), begun))
            opened = None
        elif opened is not None:
            inside.append(line.removeprefix(opened["indent"]))
        prose.append("" if opened is not None or fence else line)
    if opened is not None:
        wrong.append(f"line {begun - 1}: this block is never closed")
    return blocks, "\n".join(prose), wrong


def _hidden(found: re.Match[str], prose: str) -> Block:
    return Block("sh", tuple(found["words"].split()), found["text"] + "\n", prose.count("\n", 0, found.start("text")) + 1)


def _unknown(block: Block) -> Iterator[str]:
    if block.language not in KNOWN:
        yield f"line {block.line}: no block is `{block.language}`; known: {', '.join(filter(None, KNOWN))}"
        return
    for word in block.words:
        name, equals, path = word.partition("=")
        if not (name in ("file", "append") and equals and path) and word not in KNOWN[block.language]:
            yield f"line {block.line}: a block of {block.language or 'no language'} knows no word `{word}`"


def _plain(prose: str) -> str:
    """Without inline code and comments, whose brackets are no links."""
    bare = re.sub(r"<!--.*?-->", lambda found: "\n" * found[0].count("\n"), prose, flags=re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", lambda found: "\n" * found[0].count("\n"), bare, flags=re.DOTALL)


def _links(prose: str) -> Iterator[tuple[int, str]]:
    plain = _plain(prose)
    for found in _LINK.finditer(plain):
        yield plain.count("\n", 0, found.start()) + 1, found["target"]


def _anchors(prose: str) -> Iterator[str]:
    """As GitHub makes them of headings; the second of a name gets -1."""
    seen: dict[str, int] = {}
    for line in prose.splitlines():
        if heading := _HEADING.fullmatch(line.strip()):
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["title"]).replace("`", "")
            name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            count = seen[name] = seen.get(name, -1) + 1
            yield f"{name}-{count}" if count else name
    yield from re.findall(r"<a (?:id|name)=\"([^\"]+)\"", prose)
