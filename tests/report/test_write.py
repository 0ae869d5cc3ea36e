"""The report as a page: nothing that a stranger wrote becomes markup, in HTML, SVG or Markdown, and it is one file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.record import Record
from agent.report import write
from agent.report.notes import PARTS, Item
from agent.report.story import Story
from agent.visible import visible
from tests.report.journalled import attack, told, watched, whole_notes
from tests.stories import policy

EVIL = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "![x](https://evil.example/a.png) [y](javascript:alert(1))",
    "<https://evil.example> https://evil.example www.evil.example @everyone bob@evil.example",
    "`` ` ``` code | cell | <!channel>",
    "# heading\n## Root cause\n\n- item",
    "\x1b[31mred\x07 \u202egnp.exe \u2066x",
)


def utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


_TAGS = """html head meta title style body header main footer h1 h2 h3 p ul li dl dt dd div small table thead tbody tr th td span
    br code pre figure svg g rect line text circle"""
HARMLESS = frozenset(_TAGS.split())


def harmless(page: str) -> Tags:
    seen = Tags(page)
    assert set(seen.tags) <= HARMLESS
    assert not [
        name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href", "style", "srcset", "action")
    ]
    return seen


def evil(word: str, place: Path) -> Story:
    """A story in which every text that comes from outside is this one."""
    story = watched(replace(policy(), title=word, owner=word))
    story.logins(3)
    story.ask("acknowledge", what="INC-1", why=word)
    story.ask("assign", what="INC-1", to=word or "bob", why=word)
    story.ask("note", what="INC-1", text=word)
    for kind, body in (
        ("refused", {"action": word, "target": word, "because": word, "policy": word, "actor": word}),
        ("plan_failed", {"action": word, "target": word, "error": word}),
        ("captured", {"files": [{"file": word, "sha256": word, "bytes": 1, "call": word, "error": word}]}),
        ("somebody's own", {word: word}),
        (
            "finding",
            {**story.said("finding")[0].body, "because": word, "target": word, "title": word, "source": word, "regimes": [word]},
        ),
    ):
        story.records.append((story.now, Record(kind, body, "INC-1", "M-1" if kind == "captured" else "")))
    found = {**story.said("finding")[0].body, "because": word, "target": word, "title": word, "source": word, "lead": "INC-1"}
    story.records.append((story.now, Record("finding", found, "INC-2")))
    change = replace(story.said("intent")[0].body["change"], describe=word)
    made = {
        "policy": word,
        "action": word,
        "target": word,
        "actor": word,
        "because": word,
        "change": change,
        "until": None,
        "by_hand": word,
    }
    story.records += [
        (story.now, Record("intent", made, "INC-1", "M-9")),
        (story.now, Record("failed", {"error": word}, "INC-1", "M-9")),
    ]
    story.records.append((story.now, Record("policy_text", {"policy": word, "digest": "digest of guessing", "text": word})))
    text = "\n".join(f"## {one.heading}\n\n{word}\n" for one in PARTS)
    story.records.append(
        (story.now, Record("report_written", {"actor": word, "version": 1, "missing": [], "text": text}, "INC-1"))
    )
    return told(story, place)


@pytest.mark.parametrize("word", EVIL)
def test_no_stranger_s_word_is_markup_in_any_field(word: str, tmp_path: Path) -> None:
    page = write.html(evil(word, tmp_path), utc)

    seen = harmless(page)
    assert seen.tags.count("style") == 1
    assert visible(word) in seen.words


@pytest.mark.parametrize("word", EVIL)
def test_the_picture_alone_is_no_more_than_shapes_and_words(word: str, tmp_path: Path) -> None:
    drawn = write.svg(evil(word, tmp_path))

    seen = Tags(drawn)
    assert set(seen.tags) <= {"svg", "style", "g", "title", "rect", "line", "text", "circle"}
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn


@pytest.mark.parametrize("word", EVIL)
def test_in_markdown_a_stranger_s_word_is_no_link_mention_row_or_heading(word: str, tmp_path: Path) -> None:
    story = evil(word, tmp_path)
    text = write.markdown(story, utc)
    ours = text.partition("## 4 Timeline")[2].partition("## 5 Impact")[0]

    assert "<script" not in re.sub(r"(?s)(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)  # in code it is shown as it is
    for row in ours.splitlines():
        plain = re.sub(r"\\.", " ", row)
        assert not row or row.startswith("|")
        assert not row or plain.count("|") == 5
        assert not re.search(r"https?://|www\.|(?<!\[)@\w|!\[|\]\(|<", plain)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_at_all_is_shown_and_nothing_else(word: str) -> None:
    code, text = write.code(word), write.in_markdown(word)

    assert "\n" not in code + text
    assert "<" not in text
    ticks = re.match("`+", code)
    assert ticks
    assert ticks[0] not in code[len(ticks[0]) : -len(ticks[0])].replace(f" {ticks[0]}", "") or len(ticks[0]) == len(code) // 2


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_what_people_write_keeps_its_words_whatever_they_write(word: str) -> None:
    made = write.blocks(word)

    assert all(kind in ("p", "ul", "pre") for kind, _ in made)
    assert all(line.isprintable() for _, some in made for line in some)


def test_the_page_is_one_file_that_fetches_nothing_and_says_so(tmp_path: Path) -> None:
    page = write.html(told(attack(), tmp_path), utc)

    policy_ = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy_
    assert policy_[1].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_the_plan_s_headings_are_all_there(tmp_path: Path) -> None:
    story = attack()
    story.ask("report_notes", what="INC-1", text=whole_notes(), after=0)
    made = told(story, tmp_path)

    for text in (write.html(made, utc), write.markdown(made, utc)):
        for heading in (
            "Executive summary", "Detection", "Response", "Resolution", "Total downtime", "Root cause", "Technical cause",
            "Contributing factors", "Prevention", "Lessons learned", "What went well", "What could be better", "action items",
        ):  # fmt: skip
            assert heading in text
        assert "to be written" not in text


def test_what_nobody_has_written_says_by_whom_it_is_to_be(tmp_path: Path) -> None:
    story = attack()
    story.ask("assign", what="INC-1", to="carol", why="")
    made = told(story, tmp_path)

    assert "_to be written by carol_" in write.markdown(made, utc)
    assert write.html(made, utc).count("to be written by carol") == 10


def test_action_items_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    story = attack()
    story.ask("report_notes", what="INC-1", text=whole_notes(), after=0)
    made = told(story, tmp_path)

    assert made.items == (Item("tune it", "bob", "Friday"),)
    assert "| tune it | bob | Friday |" in write.markdown(made, utc)


def test_the_json_has_everything_and_its_times_as_other_programs_want_them(tmp_path: Path) -> None:
    made = json.loads(json.dumps(write.plain(told(attack(), tmp_path))))

    assert made["opened"].endswith("Z")
    assert made["numbers"]["downtime"] == 31.0
    assert made["deeds"][0]["proofs"][0]["kind"] == "intent"
    assert made["moments"][0]["at"].endswith("Z")
    assert "Root cause" in made["lacks"]


def test_local_times_stand_beside_utc_only_where_they_differ(tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    made = told(attack(), tmp_path)

    there = write.markdown(made, lambda at: datetime.fromtimestamp(at, ZoneInfo("Europe/Berlin")))
    here = write.markdown(made, utc)

    assert "| UTC | CET | lane |" in there
    assert "| UTC | lane |" in here
