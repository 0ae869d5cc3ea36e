"""What one filter says in the end: its options, with parameters, [Init], `%(…)s` and `<…>` worked in as fail2ban works them in.

A filter is named as in a jail: `sshd`, `postfix[mode=aggressive]`, `sshd[mode=ddos, publickey=any]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.fail2ban.ini import Settings, Unusable, read

OPTIONS: Final = ("usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch")
"""What a filter is made of; everything else in its file is there to be named by these."""

_NAME: Final = re.compile(r"([^\[]+)(?:\[(.*)\])?\s*", re.DOTALL)
_PARAMETER: Final = re.compile(
    r"""\s*([\w.-]+)=(?:"([^"]*)"|'([^']*)'|([^,\]]*))(?:,|\]\s*\[|$|(?P<rest>.+))|,?\s*$|(?P<wrong>.+)""", re.DOTALL
)
_TAG: Final = re.compile(r"<([^ <>]+)>")
_MOST_TIMES: Final = 25
_LARGEST: Final = 1 << 18
_PLAIN: Final = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Options:
    """A filter's options as text, and where each of them stands, as `FILE:LINE`."""

    name: str
    texts: Mapping[str, str]
    where: Callable[[str], str]

    def lines(self, option: str) -> list[str]:
        """The lines of an option that lists one thing on each."""
        return [line for line in self.texts.get(option, "").split("\n") if line]


def named(spec: str) -> tuple[str, dict[str, str]]:
    """The name and the parameters of `name[parameter=value, …]`.

    Raises:
        ValueError: it is not written so.
    """
    found = _NAME.fullmatch(spec)
    if found is None:
        raise ValueError(f"cannot read `{spec}`; write a filter's name, or name[mode=aggressive]")
    given: dict[str, str] = {}
    for one in _PARAMETER.finditer(found[2] or ""):
        if one["rest"] or one["wrong"]:
            raise ValueError(f"cannot read the parameters of `{spec}` from `{(one['rest'] or one['wrong'])[:25]}` on")
        if one[1]:
            given[one[1]] = next(text for text in one.group(2, 3, 4) if text is not None).strip()
    return found[1].strip(), given


def load(directory: Path, spec: str, logtype: str) -> Options:
    """The options of one filter of the directory; `logtype` is `file` or `journal`, unless its files or parameters say another.

    Raises:
        ValueError: there is no such filter.
        Unusable: something in its files is wrong.
    """
    name, given = named(spec)
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"`{name}` is no name of a filter; write that of a file in {directory}, without its .conf")
    settings = read(directory / name)
    if settings is None:
        raise ValueError(f"there is no filter {name} in {directory}; see ls {directory}")
    if "Definition" not in settings.sections:
        raise Unusable(f"{settings.where('failregex')}: `{name}` has no section [Definition]")
    if not given.get("logtype") and "logtype" not in settings.own("Definition"):
        given["logtype"] = logtype
    return Options(name, combined(settings, given), lambda option: settings.where(option, _section_of(settings, option)))


def _section_of(settings: Settings, option: str) -> str:
    return next((one for one in ("Init", "Definition") if option in settings.sections.get(one, {})), "")


def combined(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """The options and parameters together, with every tag that names one of them filled in. [Init] fills in what is not given.

    Raises:
        Unusable: an option names itself, or one that does not exist.
    """
    found = {
        name: text for name in OPTIONS if name not in given and (text := settings.get("Definition", name, given)) is not None
    }
    first = dict(given)
    for name in settings.own("Init"):
        text = settings.get("Init", name) or ""
        if not name.startswith("known/"):
            first[f"known/{name}"] = text
        first.setdefault(name, text)
    return filled({**found, **first}, settings, given)


def filled(texts: Mapping[str, str], settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """The texts with their `<tags>` filled in, again and again until nothing changes; tags that name nothing stay.

    Raises:
        Unusable: an option names itself.
    """
    done = dict(texts)
    apart = {name.partition("?")[0] for name in texts if "?" in name}
    known: dict[str, str | None] = {}

    def meaning(tag: str) -> str | None:
        if tag in done:
            return done[tag]
        if tag not in known:
            known[tag] = settings.named("Definition", tag, given)
        return known[tag]

    changed, rounds = True, 0
    while changed:
        changed, rounds = False, rounds + 1
        if rounds > _MOST_TIMES:
            raise Unusable(f"{settings.where('failregex')}: its <tags> name each other without end")
        for name, before in done.items():
            if name in apart or "<" not in before:
                continue
            done[name] = text = _filled_once(name, before, meaning, apart, settings)
            changed = changed or (text != before and _TAG.search(text) is not None)
    return done


def _filled_once(name: str, text: str, meaning: Callable[[str], str | None], apart: set[str], settings: Settings) -> str:
    """One pass over a text, from left to right; what a tag stands for is looked through, too."""
    times: dict[str, int] = {}
    found = _TAG.search(text)
    while found:
        tag = found[1]
        if tag in apart:
            found = _TAG.search(text, found.end())
            continue
        if tag == name or times.get(tag, 0) > _MOST_TIMES or len(text) > _LARGEST:
            raise Unusable(f"{settings.where(name)}: `{name}` names itself, through <{tag}>")
        value = meaning(tag)
        if value is None:
            found = _TAG.search(text, found.end())
            continue
        times[tag] = times.get(tag, 0) + 1
        text = text.replace(f"<{tag}>", value)
        found = _TAG.search(text, found.start())
    return text
