"""What an import brings over the control socket: one part of one scan."""

from __future__ import annotations

from typing import Annotated, Final, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from agent.streams.scan import MARK
from agent.streams.sender import MOST

STRICT: Final = ConfigDict(extra="forbid", strict=True)
Short = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=2000)]
Mark = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{MARK}}}$")]
Marks = Annotated[str, Field(pattern=rf"^([0-9a-f]{{{MARK}}}( [0-9a-f]{{{MARK}}})*)?$", max_length=MOST * (MARK + 1))]


@with_config(STRICT)
class Scan(TypedDict):
    """What was scanned by what."""

    scanner: Name
    target: Name
    image: NotRequired[Short]


@with_config(STRICT)
class Finding(TypedDict):
    """One finding, as the events of the kind hold it."""

    kind: Name
    id: Name
    severity: Name
    fingerprint: Mark
    package: NotRequired[Short]
    version: NotRequired[Short]
    fixed: NotRequired[Short]
    image: NotRequired[Short]
    path: NotRequired[Short]
    title: NotRequired[Short]
    known_exploited: NotRequired[bool]


@with_config(STRICT)
class Import(TypedDict):
    """Some findings of a scan; with the last of them the fingerprints of all, and how many were new in the parts before."""

    scan: Scan
    findings: Annotated[list[Finding], Field(max_length=MOST)]
    whole: NotRequired[Marks]
    new: NotRequired[Annotated[int, Field(ge=0, le=MOST)]]
