"""Every document says what is true: its YAML loads, its commands run as a reader would run them, its links lead somewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs import contents
from tests.docs.document import ROOT, Block, Document, document, documents
from tests.docs.not_run import NOT_RUN
from tests.docs.places import Sandbox, run
from tests.docs.shell import Ended, carry_out, follow
from tests.needs import need, need_root

ALL = documents()
NAMES = [one.name for one in ALL]
TYPED = [(one, block) for one in ALL for block in one.blocks if block.language in ("yaml", "ini", "json", "python", "nft")]


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_a_document_is_written_as_it_can_be_checked(one: Document) -> None:
    assert not one.wrong, "\n".join(one.wrong)


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_links_lead_somewhere(one: Document) -> None:
    anchors = {other.path: other.anchors for other in ALL}

    lost = [f"{one.name}:{line}: {target}" for line, target in one.links if not _leads(one, target, anchors)]

    assert not lost, "\n".join(lost)


def _leads(one: Document, target: str, anchors: dict[Path, frozenset[str]]) -> bool:
    if "://" in target or target.startswith("mailto:"):
        return True
    path, _, anchor = unquote(target).partition("#")
    there = (one.path.parent / path).resolve() if path else one.path
    if not there.exists():
        return False
    return not anchor or there.suffix != ".md" or anchor in (anchors.get(there) or document(there).anchors)


@pytest.mark.parametrize(("one", "block"), TYPED, ids=[one.at(block) for one, block in TYPED])
def test_a_block_is_what_it_says(one: Document, block: Block, tmp_path: Path) -> None:
    assert contents.check(block, one.at(block), tmp_path) == ""


def test_what_is_not_run_is_shown_somewhere() -> None:
    shown = [(one.at(block), block) for one in ALL for block in one.blocks if block.language == "sh" and "shown" in block.words]

    firsts = {block.text.splitlines()[0]: at for at, block in shown}

    assert not {at: first for first, at in firsts.items() if first not in NOT_RUN}, "say why in tests/docs/not_run.py"
    assert not NOT_RUN.keys() - firsts.keys(), "nothing of the kind is shown any more"


@pytest.mark.parametrize("one", [one for one in ALL if one.running("sandbox")], ids=lambda one: one.name)
def test_commands_run_beside_an_agent(one: Document) -> None:
    need_root()
    need("nft", "nftables")
    place = Sandbox()

    try:
        follow(one, one.running("sandbox"), place)
    finally:
        place.close()


# The checks themselves ------------------------------------------------------------------------------------------------------


BAD = """\
# A title

```yaml
policy: a
severity: P9
when: {event: auth.ssh.failure}
```

```diff
x
```

```sh fast
contain status
```

[gone](gone.md) [here](#a-title) [there](#b-title)
<!-- sh box: true -->
"""


def test_mistakes_are_found(tmp_path: Path) -> None:
    file = ROOT / "docs" / "x.md"
    made = tmp_path / "x.md"
    made.write_text(BAD)

    found = document(made)

    assert [one.partition(": ")[0] for one in found.wrong] == ["line 10", "line 14"]
    assert "`P9` is not one of" in contents.check(found.blocks[0], "x", tmp_path)
    assert [target for _, target in found.links if not _leads(found, target, {made: found.anchors})] == ["gone.md", "#b-title"]
    assert found.blocks[-1].place == "box"
    assert not file.exists()


class Shell:
    """This machine's own bash."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def run(self, script: str, *, attacker: bool = False) -> Ended:
        return run(["bash", "-c", script], self.scratch, 10)

    def write(self, how: str, path: str, text: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("true\n", ""),
        ("true | false\n", "exit 1: false"),
        ("false\ntrue\n", "exit 1: false"),
        ("(exit 10)  # exit 10\n", ""),
        ("(exit 2)  # what: exit 0|10\n", "instead of 0|10 2"),
        ("for one in 1 2; do\n  false\ndone\n", "exit 1: false"),
        ("sleep 100 &\n", ""),
    ],
)
def test_exit_codes_count(text: str, wrong: str, tmp_path: Path) -> None:
    said = carry_out(Block("sh", (), text, 1), Shell(tmp_path))

    assert wrong in said if wrong else not said


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("$ echo a; echo b\na\nb\n", True),
        ("$ echo a; echo b\na\n", False),
        ("$ seq 9\n1\n…\n9\n", True),
        ("$ echo in force until 12:00\nin  force until …\n", True),
        ("$ echo a\nb\n", False),
    ],
)
def test_output_is_compared(text: str, right: bool, tmp_path: Path) -> None:
    said = carry_out(Block("console", ("compared",), text, 1), Shell(tmp_path))

    assert not said if right else "the document says" in said
