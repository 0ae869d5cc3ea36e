"""The events of file integrity. Pure."""

from __future__ import annotations

from typing import Final

from agent.event import Kind

FILE: Final = Kind(
    "file.changed",
    "A watched file is not what the baseline has, or not what it was when that was told last.",
    {
        "path": "text",
        "what": "text",
        "old": "text",
        "new": "text",
        "pid": "integer",
        "exe": "text",
        "user": "text",
        "package": "text",
    },
)
"""`what` is created, deleted, changed (its content), mode, owner, caps, type, link, or restored: it is again what the baseline
has. `old` and `new` are short digests, or the values. `pid`, `exe` and `user` say who did it, where that could be seen in time.
`package` is the Debian package that ships exactly this content; it explains, and proves nothing: root can write dpkg's lists.
Nobody can forge the event; but whoever may make files in a watched directory chooses their names."""

BASELINE: Final = Kind(
    "file.baseline",
    "What became of the baseline that files are compared with: taken, updated by a person, or tampered with.",
    {
        "what": "text",
        "say": "text",
        "count": "integer",
        "paths": "text",
        "before": "text",
        "after": "text",
        "actor": "text",
        "why": "text",
        "ticket": "integer",
    },
)
"""`what` is taken, updated, refused (a person's update that was not done), or tampered. `before` and `after` are its digests.
Each but a refused one becomes a record of the evidence, whatever policies say. `ticket` finds the way back to who asked."""

TAKEN: Final = "taken"
UPDATED: Final = "updated"
REFUSED: Final = "refused"
TAMPERED: Final = "tampered"
