"""Carries words out: each call to a channel is a job in a lane of its own, so that one that hangs starves only itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json, to_json

from agent.action import CannotReach
from agent.messages import Cry, Send, Sent
from agent.notifying import last_resort
from agent.notifying.notice import Notice, read
from agent.notifying.notifier import SECONDS, Busy, Refused, Thread, Unsure
from agent.visible import visible
from agent.workers import Job

log = logging.getLogger("agent")

DEADLINE: Final = SECONDS + 5.0
MOST_NAMES: Final = 20
LONGEST_VALUE: Final = 2000
LARGEST_SECRET: Final = 64 << 10

Clean = Callable[[Sequence[bytes]], list[bytes]]


class Courier:
    """`clean` keeps secrets out of JSON texts, `learn` hears those that channels hold: they are in no notice then."""

    def __init__(self, clean: Clean, learn: Callable[[str], None]) -> None:
        self._clean, self._learn = clean, learn
        self._known: dict[Path, str] = {}
        self._lock = threading.Lock()

    def job(self, one: Send) -> Job:
        """One call; whatever becomes of it is a message."""
        return Job(f"tell {one.channel}", partial(self._send, one), partial(not_sent, one), DEADLINE, changes=True)

    def cry(self, one: Cry) -> Job:
        """A word to the terminals of this host."""
        return Job("tell the terminals", partial(self._cry, one), _not_cried, last_resort.SECONDS + 5.0)

    def _send(self, one: Send) -> list[Sent]:
        try:
            self._learn_from(one.notifier)
            thread = one.notifier.send(self._cleaned(one.notice), one.part, one.thread, doubtful=one.doubtful)
            return [_sent(one, "told", thread=_bounded(thread))]
        except Unsure as error:
            return [_sent(one, "unsure", str(error), error.after)]
        except Busy as error:
            return [_sent(one, "busy", str(error), error.after)]
        except (Refused, CannotReach) as error:
            return [_sent(one, "refused", str(error))]
        except Exception as error:  # a lane's worker: a channel's bug is not the end of the others
            log.exception("a bug in the channel %s: %s was not told", one.channel, one.notice.key)
            return [_sent(one, "bug", f"a bug in this channel: {type(error).__name__}; the agent's log has more")]

    def _cry(self, one: Cry) -> list[Any]:
        (clean,) = self._clean([to_json(one.text)])
        log.critical("%s", last_resort.cry(from_json(clean)))
        return []

    def _cleaned(self, notice: Notice) -> Notice:
        """The notice as the journal has it: what looks like a secret in a stranger's words goes nowhere."""
        text = to_json(notice._asdict())
        (clean,) = self._clean([text])
        return notice if clean == text else read(from_json(clean))

    def _learn_from(self, notifier: Any) -> None:
        """Hear the secrets in its files, again whenever they have changed."""
        for path in secret_files(notifier):
            try:
                with path.open("rb") as file:
                    text = file.read(LARGEST_SECRET).decode("utf-8", "replace")
            except OSError:  # whoever needs it says so
                continue
            with self._lock:
                if self._known.get(path) != text:
                    self._known[path] = text
                    for line in text.splitlines():
                        self._learn(line)


def secret_files(notifier: Any) -> list[Path]:
    """The files with a channel's secrets."""
    named = {one.name: getattr(notifier, one.name) for one in fields(notifier)}
    return [value for name, value in named.items() if isinstance(value, Path) and name.endswith("_file") and name != "ca_file"]


def not_sent(one: Send, why: str) -> list[Sent]:
    """It did not come back in time: nobody knows what became of it."""
    return [_sent(one, "unsure", why)]


def _sent(one: Send, result: Any, why: str = "", after: float | None = None, thread: Thread | None = None) -> Sent:
    kind = str(type(one.notifier).name)
    return Sent(one.channel, one.notice.key, one.part, result, kind, visible(why, 500), after, thread or {})


def _bounded(thread: Mapping[str, str]) -> Thread:
    """What the journal keeps of it: a channel that wants more has a bug, and is not to fill the disk."""
    if len(thread) > MOST_NAMES or any(len(value) > LONGEST_VALUE for value in thread.values()):
        raise ValueError("a thread has up to 20 names with short values")
    return {str(name): str(value) for name, value in thread.items()}


def _not_cried(why: str) -> list[Any]:
    log.critical("%s", why)
    return []
