"""Stories written into a real journal, as the daemon would have, and read back as reports."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.check import Answer
from agent.evidence.journal_read import read_only
from agent.messages import Note
from agent.people.writing import keep_texts
from agent.policy import Gathering
from agent.record import Record
from agent.report.downtime import changed
from agent.report.notes import PARTS
from agent.report.raw import Raw
from agent.report.read import gather
from agent.report.story import Story as Told
from agent.report.tell import story as tell
from agent.turn import Turn
from tests.evidence.journals import opened
from tests.stories import T0, Story, policy

IMPACT = Gathering("availability", impact=("shop",), regimes=("nis2",))


def watched(*policies: Any, **more: Any) -> Story:
    """A story whose policy counts the check `shop` as its impact, and whose policies have texts."""
    made = policies or (policy(gathering=IMPACT),)
    texts = [replace(one, text=f"policy: {one.name}\nnotify: password=hunter22\n") for one in made]
    story = Story(*texts, **more)
    turn = Turn(story.agent, story.now)
    keep_texts(turn)
    noted(story, turn.effects)
    story.answered = {}  # type: ignore[attr-defined]
    return story


def noted(story: Story, effects: Any) -> None:
    story.records += [(story.now, one.record) for one in effects if isinstance(one, Note)]


def says(story: Story, state: Any, say: str = "no answer", name: str = "shop") -> None:
    """The check answers."""
    answers = [Answer(state, say)]
    noted(story, changed(story.answered, name, answers, story.agent.policies.values()))  # type: ignore[attr-defined]


def restarts(story: Story) -> None:
    """The agent is gone and there again; its checks have said nothing yet."""
    story.records.append((story.now, Record("stopped", {"because": "asked to stop"})))
    story.die_and_start_again()
    story.answered = {}  # type: ignore[attr-defined]


def journal(story: Story, place: Path) -> Path:
    """The records of a story in a journal."""
    path = place / "journal.db"
    with closing(opened(path)) as made:
        for at, record in story.records:
            made.commit(at, [record])
        made.checkpoint(story.now)
    return path


def raw(story: Story, place: Path, name: str = "INC-1") -> Raw:
    with read_only(journal(story, place)) as reader:
        found = gather(reader, name)
    assert found is not None
    return found


def told(story: Story, place: Path, name: str = "INC-1") -> Told:
    return tell(raw(story, place, name), story.now)


def whole_notes(text: str = "It was so.") -> str:
    return "\n".join(f"## {one.heading}\n\n{text if one.name != 'items' else '| tune it | bob | Friday |'}\n" for one in PARTS)


def attack(**more: Any) -> Story:
    """The golden one: guessed at from T0 on, down from T0+1 to T0+31, contained, acknowledged, let go after an hour."""
    story = watched(**more)
    story.pass_by(1)
    says(story, "bad")
    story.logins(2)
    story.now += 8
    story.logins(1)
    story.pass_by(20)
    says(story, "good", "200 in 12 ms")
    story.pass_by(60)
    story.ask("acknowledge", what="INC-1", why="looking")
    story.pass_by(100)
    story.ask("note", what="INC-1", text="the pool was exhausted")
    story.pass_by(3700)
    return story


BEGAN = T0 + 1
