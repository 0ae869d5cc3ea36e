"""What a journal of some version says, in words that do not change with the program: the golden view of a fixture.

.venv/bin/python -m tests.evidence.versions.view tests/evidence/versions/2      # writes its view.json anew
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from agent.action import System
from agent.evidence.journal_file import open_to_read
from agent.evidence.journal_head import find_head
from agent.evidence.journal_read import follow, replay
from agent.evidence.keys import load
from agent.evidence.merkle import genesis
from agent.fold import fold
from agent.outside import systems
from agent.record import Stored
from agent.snapshot import restore
from agent.state import State

HERE: Final = Path(__file__).parent
ALL: Final = tuple(sorted(one.parent.name for one in HERE.glob("*/journal.db.gz")))
"""Commits whose agents left a journal here, and versions of records."""
TYPES: Final[dict[str, type[System]]] = {name: type(one) for name, one in systems(None).items()}

_INCIDENT: Final = ("id", "policy", "target", "severity", "phase", "opened", "findings", "acked_by", "assigned")
_MITIGATION: Final = ("id", "incident", "policy", "action", "target", "stage", "since", "until", "actor", "part")


def unpack(version: str, to: Path) -> Path:
    """The journal of a version with its key, as an agent finds them in its directory; returns the journal."""
    to.mkdir(parents=True, exist_ok=True)
    for name in ("signing.key", "signing.vkey"):
        (to / name).write_bytes((HERE / version / name).read_bytes())
        (to / name).chmod(0o600)
    (to / "journal.db").write_bytes(gzip.decompress((HERE / version / "journal.db.gz").read_bytes()))
    return to / "journal.db"


def states(journal: Path) -> tuple[State, State]:
    """What an agent knows at a start with it, and what the records alone say."""
    key = load(journal.with_name("signing.key"))
    with closing(open_to_read(journal)) as db:
        size = find_head(journal, db, key.public).size
        started = _folded(*replay(journal, db, key, (size, key.public.name)))
        return started, _folded(None, follow(journal, db, 0, genesis(key.public.name)))


def view(state: State) -> dict[str, Any]:
    """Its incidents, mitigations, modes, pauses, lists and silences."""
    return {
        "incidents": [
            [*(getattr(one, name) for name in _INCIDENT), list(one.mitigations), list(one.told)]
            for one in state.incidents.values()
        ],
        "mitigations": [
            [*(getattr(one, name) for name in _MITIGATION), *map(str, (one.change.apply, one.change.undo, one.change.verify))]
            for one in (*state.mitigations.values(), *state.would.values())
        ],
        "modes": dict(state.modes),
        "pauses": [
            [one.id, one.since, one.until, one.why, one.missed] for one in (*state.pauses.all.values(), *state.pauses.over)
        ],
        "lists": [[one.list, str(one.network), one.until, one.why] for one in state.lists.entries.values()],
        "silences": [[one.id, one.until, one.why] for one in state.silences.all.values()],
        "last": [state.last_incident, state.last_mitigation],
    }


def _folded(plain: Any, records: Iterable[Stored]) -> State:
    state = restore(plain, TYPES)
    for one in records:
        fold(state, one.record, one.ts)
    return state


def main() -> None:
    """Write the golden view of one fixture."""
    place = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as to:
        started, alone = states(unpack(place.name, Path(to)))
    if view(started) != view(alone):
        raise SystemExit("the snapshot and the records do not say the same")
    rows = ",\n".join(f' "{name}": ' + _rows(value) for name, value in view(started).items())
    (place / "view.json").write_text(f"{{\n{rows}\n}}\n")


def _rows(value: Any) -> str:
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value) + "\n ]"


if __name__ == "__main__":
    main()
