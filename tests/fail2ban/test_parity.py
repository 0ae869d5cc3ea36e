"""The same verdict per line as fail2ban's own, for every filter of Debian's package."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.fail2ban.apart import Apart, Child
from agent.fail2ban.filters import WHERE, load
from agent.fail2ban.ini import Unusable
from agent.fail2ban.judge import Judge, Line
from agent.fail2ban.reading import Reading
from tests.fail2ban.asking import NOW, Question, Told, both, need_fail2ban, same, samples, shipped, specs

CORPUS = Path(__file__).parent.parent / "corpus"
OWN = (
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for root from 203.0.113.7 port 4711 ssh2",
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for invalid user from 192.0.2.1 port 1 ssh2 from 203.0.113.7 port 22 ssh2",
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for root from 999.0.113.7 port 4711 ssh2",
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for root from ::ffff:203.0.113.7 port 4711 ssh2",
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for root from 2001:DB8:0::7 port 4711 ssh2",
    "Nov 23 06:00:01 db1 sshd[812]: Failed password for root from scanner.example.com port 4711 ssh2",
    "Feb 30 06:00:01 db1 sshd[812]: Failed password for root from 203.0.113.7 port 4711 ssh2",
    "2026-11-23T06:00:01.123456+01:00 db1 sshd[812]: Invalid user oracle from 203.0.113.7 port 4711",
    "1795413600.123 db1 sshd[812]: Invalid user oracle from 203.0.113.7 port 4711",
    "[Mon Nov 23 06:00:01.123456 2026] [auth_basic:error] [pid 1:tid 2] [client 203.0.113.7:4711] AH01617: user bob: "
    'authentication failure for "/": Password Mismatch',
    '203.0.113.7 - - [23/Nov/2026:06:00:01 +0000] "GET /wp-login.php?d=2020-01-01T00:00:00 HTTP/1.1" 404 12 "-" "x"',
    '2026/11/23 06:00:01 [error] 1#1: *1 limiting requests, excess: 5.2 by zone "one", client: 203.0.113.7, server: x, request: '
    '"GET / HTTP/1.1", host: "x"',
    "no date at all: Failed password for root from 203.0.113.7",
)


_EXTRA = (" ", "  ", "\t", "[", "::1", " from 192.0.2.1 ", "2026-11-23 06:00:01 ", "Nov 23 06:00:01", "\u00a0", "ß", "<")


def mutated(lines: Iterable[str], chance: random.Random) -> list[str]:
    """Each line with something cut, doubled, swapped or put in: what strangers and broken writers do."""
    found = []
    for line in lines:
        at, end = sorted(chance.randrange(len(line) + 1) for _ in range(2))
        extra = chance.choice(_EXTRA)
        found += [
            line[:at] + line[min(end, at + 6) :],
            line[:at] + extra + line[at:],
            line[:at] + line[at : at + 9] * 2 + line[at + 9 :],
            line.swapcase() if chance.random() < 0.2 else line[at:] + line[:at],
        ]
    return [line for line in found if line.strip()]


def wrong(questions: list[Question]) -> tuple[Counter[str], list[str]]:
    """How many verdicts of each sort there were, and those that differ."""
    counted, differ = Counter[str](), []
    for question, told, own in zip(questions, *both(questions), strict=True):
        for line, other, ours in zip(question.lines, told, own, strict=True):
            counted[other[0]] += 1
            if other[0] != "error" and not same(other, ours):
                differ.append(f"{question.filter}: {line[:200]}\n  fail2ban: {other}\n  ours:     {ours}")
    return counted, differ


def test_every_filter_of_the_package_loads() -> None:
    loaded = shipped()

    assert len(loaded) == len(list(Path(WHERE).glob("*.conf"))) - 5
    assert [name for name in loaded for spec in specs(name) if not load(WHERE, spec).rules.search.fail] == []


def test_the_packages_own_lines_get_the_same_verdict_in_every_mode() -> None:
    questions = [Question(spec, lines) for name in shipped() for spec in specs(name) if (lines := samples(name))]

    counted, differ = wrong(questions)

    assert differ == []
    assert counted["failure"] > 700
    assert counted["error"] == 0


def test_lines_that_were_meddled_with_get_the_same_verdict() -> None:
    chance = random.Random(20261123)
    questions = [Question(name, mutated(lines[:40], chance), alone=True) for name in shipped() if (lines := samples(name))]

    counted, differ = wrong(questions)

    assert differ == []
    assert counted["failure"] > 500
    assert counted["missed"] > 1500


def test_every_filter_says_the_same_of_lines_that_belong_to_others_and_of_injections() -> None:
    need_fail2ban()
    injections = [line for file in sorted(CORPUS.glob("*.injection")) for line in file.read_text(errors="replace").splitlines()]
    lines = [line[:500] for line in (*OWN, *injections[::2]) if line.strip() and not line.startswith("#")]

    counted, differ = wrong([Question(name, lines, alone=True) for name in shipped()])

    assert differ == []
    assert sum(counted.values()) > 5_000


def test_entries_of_the_journal_get_the_same_verdict() -> None:
    lines = [line.split(" ", 3)[3] for line in samples("sshd") if line[:3].isalpha() and line.count(" ") > 4]

    counted, differ = wrong([Question("sshd[mode=aggressive]", lines, backend="systemd")])

    assert differ == []
    assert counted["failure"] > 50


def test_connections_that_end_come_again_and_are_too_many_get_the_same_verdict() -> None:
    """What only tells of a connection is not read before it is asked for, what only ends one not at all: nobody may notice."""
    chance = random.Random(11)
    lines = [line for line in samples("sshd") if re.search(r"sshd\[\d+\]", line)]
    mixed = [re.sub(r"sshd\[\d+\]", f"sshd[{chance.randrange(160)}]", chance.choice(lines)) for _ in range(1200)]

    counted, differ = wrong([Question(spec, mixed) for spec in specs("sshd")])

    assert differ == []
    assert counted["failure"] > 1000


def test_a_search_apart_finds_what_one_in_process_finds() -> None:
    child = Child()
    child.join(-1)
    for name, one in shipped().items():
        lines = [Line(one.detector().cut(line, NOW)[0], line) for line in (*samples(name), *OWN)]
        searches = Apart(one.rules.search, child=child)

        elsewhere = Judge(one.rules, searches).each(lines, NOW)

        here = Judge(one.rules).each(lines, NOW)
        assert [judged for judged in elsewhere if judged.identity] == [judged for judged in here if judged.identity], name
        assert (searches.slow, searches.skipped) == (0, 0)
    child.leave(-1)


def test_filters_over_several_lines_say_the_same_of_sequences() -> None:
    chance = random.Random(7)
    names = [name for name, one in shipped().items() if one.rules.search.lines > 1]
    questions = []
    for name in names:
        lines = samples(name)
        for _ in range(12):
            mixed = list(lines)
            for _ in range(chance.randrange(6)):
                at = chance.randrange(len(mixed))
                mixed[at:at] = [chance.choice([*OWN, mixed[at], mixed[at][:40] or "x"])]
            questions.append(Question(name, mixed))

    counted, differ = wrong(questions)

    assert sorted(names) == ["ejabberd-auth", "guacamole", "mongodb-auth", "slapd"]
    assert differ == []
    assert counted["failure"] > 50


@pytest.mark.parametrize("size", [200, 7_000, 300_000])
def test_reading_in_chunks_finds_what_reading_line_by_line_finds(size: int) -> None:
    """Whatever the needles leave out means nothing: no line that fail2ban counts is missed for want of a literal."""
    for name, one in shipped().items():
        lines = [*samples(name), *OWN]
        text = "".join(f"{line}\n" for line in lines).encode()
        wanted = [told[1] for told in Question(name, lines).ours() if told[0] == "failure"]
        reading, found = Reading(replace(one, risky=False), "test"), list[object]()

        at = 0
        while at < len(text):
            end = text.rfind(b"\n", at, at + size) + 1 or text.find(b"\n", at) + 1
            found += [event.fields["id"] for _, event in reading.found(text[at:end], NOW)]
            at = end

        assert found == wanted, name


def test_a_filter_that_needs_what_we_do_not_do_is_refused_with_its_place(tmp_path: Path) -> None:
    def refused(text: str) -> str:
        (tmp_path / "own.conf").write_text(f"[Definition]\n{text}\n")
        load.cache_clear()
        with pytest.raises(Unusable) as error:
            load(str(tmp_path), "own")
        return str(error.value).replace(str(tmp_path), "")

    assert refused("failregex = ^bad <HOST>$\nusedns = warn").startswith(
        "/own.conf:3: usedns = warn: host names are never looked up"
    )
    assert refused("failregex = ^bad <HOST>$\ndatepattern = %%c").startswith(
        "/own.conf:3: datepattern: %c, %x and %X hang on the locale"
    )
    assert refused("failregex = ^bad (<HOST>$").startswith("/own.conf:2: failregex `^bad (<HOST>$`: bad expression: missing )")
    assert refused("failregex = ^bad$").startswith("/own.conf:2: nothing in `^bad$` tells who it was")
    assert refused("failregex = ^%(nothing)s <HOST>").startswith("/own.conf:2: `failregex` names `nothing`, which is set nowhere")
    assert refused("failregex = <more> <HOST>\nmore = <less>\nless = <more>").endswith("names itself, through <more>")
    assert refused("failregex = ^100% <HOST>").startswith("/own.conf:2: a single % in `failregex`")
    assert refused("failregex = ^bad <HOST>\nmaxlines = many").startswith("/own.conf:3: maxlines = many is no number")
    assert refused("failregex = ^bad <HOST>\njournalmatch = sshd").startswith(
        "/own.conf:3: journalmatch: `sshd` is no FIELD=value"
    )
    assert refused("nothing").startswith("/own.conf:2: ")


def verdicts(told: list[Told]) -> list[str]:
    return [one[0] for one in told]


def test_a_local_file_a_drop_in_and_parameters_win_as_they_do_for_fail2ban(tmp_path: Path) -> None:
    place = tmp_path / "filter.d"
    (place / "own.d").mkdir(parents=True)
    (place / "base.conf").write_text(
        "[DEFAULT]\nwho = <HOST>\n_x = base\n[Definition]\nmode = a\n[Init]\nword = init\n[other]\nsaid = said\n"
    )
    (place / "own.conf").write_text(
        "[INCLUDES]\nbefore = base.conf\nafter = last.conf\n[Definition]\n"
        "failregex = ^<word> %(who)s %(_x)s <say-<mode>>$ ; a comment"
        "\n"
        "            ^%(other/said)s <ADDR>$\nsay-a = aaa\nsay-b = bbb <mode>\nignoreregex = ^ignored\ndatepattern = {NONE}\n"
    )
    (place / "own.d/x.conf").write_text("[Definition]\nfailregex = %(known/failregex)s\n            ^dropped in <HOST>\n")
    (place / "own.local").write_text("[Definition]\nsay-a = local\n_x = own\n")
    (place / "last.conf").write_text("[DEFAULT]\n_x = last\n[Definition]\nsay-b = last <mode>\n")
    lines = [
        f"{word} 203.0.113.7 {x} {say}"
        for word in ("init", "given")
        for x in ("base", "own", "last")
        for say in ("aaa", "local", "last b", "bbb b")
    ]
    lines += [
        "said 203.0.113.8",
        "said x.example.com",
        "dropped in ::1",
        "ignored init 203.0.113.7 own local",
        "2026-11-23 06:00:01 said ::1",
    ]
    questions = [Question(spec, lines, directory=str(tmp_path)) for spec in ("own", "own[mode=b]", "own[word=given, mode='b']")]

    counted, differ = wrong(questions)

    assert differ == []
    assert counted["failure"] >= 8
