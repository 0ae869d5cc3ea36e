"""Letters: encrypted to a server that proved its name, one thread for each incident, and nothing in them that strangers made."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agent.action import CannotReach
from agent.notifiers.email import Email
from agent.notifying.letter import in_html, plain, subject
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Busy, Refused, Thread, Unsure
from tests.certificates import certificate
from tests.notifiers.contract import Mischief, NotifierContract, send_all
from tests.notifiers.mail_server import PASSWORD, USER, MailServer
from tests.notifiers.notices import HOSTILE, hostile, notice

ALICE, BOB = "alice@example.com", "bob@example.com"


class Vendor:
    secrets = (PASSWORD,)
    mischiefs: frozenset[Mischief] = frozenset({"error", "lost", "hang", "refused", "gibberish"})
    asks = False
    what: What = "opened"

    def __init__(self, server: MailServer, channel: Email) -> None:
        self.server, self.channel, self.secret_file = server, channel, channel.password_file

    def next(self, mischief: Mischief) -> None:
        scripts = {"error": "451 try later", "lost": "lost", "hang": "hang", "gibberish": "what?"}
        if mischief == "refused":
            assert self.secret_file is not None
            self.secret_file.write_text("another-password-of-some-length")
        else:
            self.server.scripts["DATA"] = scripts[mischief]

    def seen(self) -> int:
        return len(self.server.letters)

    def stop(self) -> None:
        self.server.stop()


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("mail"), 30)


@pytest.fixture
def make(shown: Path, tmp_path: Path) -> Iterator[Callable[..., MailServer]]:
    made: list[MailServer] = []

    def start(cert: Path | None = shown, **given: Any) -> MailServer:
        made.append(MailServer(cert, **given))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def server(make: Callable[..., MailServer]) -> MailServer:
    return make(login=True)


@pytest.fixture
def channel(server: MailServer, shown: Path, tmp_path: Path) -> Email:
    return _channel(server, shown, tmp_path, to=(ALICE,))


def _channel(server: MailServer, shown: Path, place: Path, **given: Any) -> Email:
    file = place / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    known: dict[str, Any] = {"to": (ALICE, BOB), "user": USER, "password_file": file, "tls": "starttls", "ca_file": str(shown)}
    return Email(f"localhost:{server.port}", "containment@example.com", **{**known, "within": timedelta(seconds=1.5), **given})


class TestEmail(NotifierContract):
    @pytest.fixture
    def vendor(self, server: MailServer, channel: Email) -> Vendor:
        return Vendor(server, channel)


def _repeat(channel: Any, one: Notice, thread: Thread) -> None:
    send_all(channel, one, thread, doubtful=True)


def _tell(channel: Any, thread: Thread, *notices: Notice) -> Thread:
    for one in notices:
        thread = send_all(channel, one, thread)
    return thread


# The way to the server ----------------------------------------------------------------------------------------------------


def test_a_letter_goes_encrypted_and_after_a_login(channel: Email, server: MailServer) -> None:
    _tell(channel, {}, notice())

    (letter,) = server.letters
    assert (letter.tls, letter.user, letter.sender, letter.to) == (True, USER, "containment@example.com", (ALICE,))


def test_a_letter_can_go_by_tls_from_the_first_byte(make: Any, shown: Path, tmp_path: Path) -> None:
    server = make(implicit=True, login=True)

    _tell(_channel(server, shown, tmp_path, tls="implicit"), {}, notice())

    assert [(one.to, one.user) for one in server.letters] == [((ALICE,), USER), ((BOB,), USER)]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_of_another_name_gets_nothing(make: Any, tmp_path: Path, tls: str) -> None:
    other = certificate(tmp_path, 30, name="mail.example.org")
    server = make(other, implicit=tls == "implicit")

    with pytest.raises(CannotReach, match=r"[Hh]ostname mismatch"):
        _tell(_channel(server, other, tmp_path, tls=tls, user="", password_file=None), {}, notice())

    assert server.letters == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_that_nobody_vouches_for_gets_nothing(make: Any, tmp_path: Path, tls: str) -> None:
    server = make(implicit=tls == "implicit")

    with pytest.raises(CannotReach, match="ca_file"):
        _tell(_channel(server, tmp_path, tmp_path, tls=tls, ca_file=""), {}, notice())

    assert server.letters == []


def test_a_server_that_offers_no_encryption_gets_no_password(make: Any, shown: Path, tmp_path: Path) -> None:
    server = make(None)

    with pytest.raises(CannotReach, match="no STARTTLS"):
        _tell(_channel(server, shown, tmp_path), {}, notice())

    assert server.letters == []


def test_the_mail_server_of_this_host_may_be_told_in_the_clear(make: Any, tmp_path: Path) -> None:
    server = make(None)
    channel = Email(f"127.0.0.1:{server.port}", "root@localhost", ("root@localhost",))

    _tell(channel, {}, notice())

    assert [one.tls for one in server.letters] == [False]


@pytest.mark.parametrize(
    "given",
    [
        {"server": "smtp.example.com"},
        {"server": "smtp.example.com:0"},
        {"server": "a b:25"},
        {"server": "smtp.example.com:25", "tls": "none"},
        {"from_": "Containment <a@example.com>"},
        {"from_": "a@example.com\r\nBcc: x@example.com"},
        {"to": ()},
        {"to": (ALICE, "Alice@example.com")},
        {"to": ("a@b@c",)},
        {"to": ("a@exämple.com",)},
        {"to": tuple(f"a{number}@example.com" for number in range(21))},
        {"user": "x"},
        {"password_file": Path("/x")},
        {"within": timedelta(seconds=9)},
    ],
)
def test_what_could_not_work_is_refused_at_once(given: Any) -> None:
    known = {"server": "smtp.example.com:587", "from_": "a@example.com", "to": (ALICE,)}

    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
        Email(**{**known, **given})


# What servers do ----------------------------------------------------------------------------------------------------------


def test_who_is_refused_is_said_and_the_others_get_theirs_once(server: MailServer, shown: Path, tmp_path: Path) -> None:
    channel = _channel(server, shown, tmp_path)
    server.scripts[f"RCPT {ALICE}"] = "550 no such user here"
    first, second = channel.parts(notice())

    with pytest.raises(Refused, match=r"cannot write to alice@example.com by localhost:\d+: 550 no such user here; look at"):
        channel.send(notice(), first, {}, doubtful=False)
    channel.send(notice(), second, {}, doubtful=False)

    assert [one.to for one in server.letters] == [(BOB,)]
    assert str(server.letters[0].read["To"]) == f"{ALICE}, {BOB}"


@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("script", "error"), [("451 greylisted", Busy), ("554 no", Refused)])
def test_a_refusal_means_the_same_at_every_step(channel: Email, server: MailServer, where: str, script: str, error: Any) -> None:
    server.scripts[where] = script

    with pytest.raises(error, match=script) as caught:
        _tell(channel, {}, notice())

    assert type(caught.value) is error
    assert server.letters == []


@pytest.mark.parametrize("where", ["MAIL", "RCPT"])
@pytest.mark.parametrize("script", ["abort", "hang"])
def test_what_breaks_before_the_letter_was_sent_was_surely_not_taken(
    channel: Email, server: MailServer, where: str, script: str
) -> None:
    server.scripts[where] = script
    started = time.monotonic()

    with pytest.raises(Busy) as caught:
        _tell(channel, {}, notice())

    assert not isinstance(caught.value, Unsure)
    assert time.monotonic() - started < 4


def test_what_breaks_after_the_letter_was_sent_may_have_been_taken_and_comes_again_as_the_same_one(
    channel: Email, server: MailServer
) -> None:
    server.scripts["DATA"] = "lost"
    with pytest.raises(Unsure):
        _tell(channel, {}, notice())

    _repeat(channel, notice(), {})

    first, again = server.letters
    assert first.read["Message-ID"] == again.read["Message-ID"]
    assert first.raw.split(b"Content-Type")[0] == again.raw.split(b"Content-Type")[0]


def _talker(lines: list[bytes]) -> Generator[int, None, None]:
    """A server that answers each line with the next of these, a byte at a time where one ends in `...`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def talk() -> None:
            with suppress(OSError):
                wire, _ = listening.accept()
                with wire:
                    wire.settimeout(10)
                    for line in lines:
                        for piece in [line] if not line.endswith(b"...") else [b"2"] * 40:
                            wire.sendall(piece)
                            if piece == b"2":
                                time.sleep(0.2)
                        wire.recv(4096)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(12)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([b"554 go away\r\n"], Refused),
        ([b"421 too many\r\n"], Busy),
        ([b"\xff\xfe\x00\r\n"], Busy),
        ([b"220 " + b"x" * 20_000], Busy),
        ([b"220 hi\r\n", b"250 x\r\n", b"220-\r\n..."], Busy),
    ],
)
def test_a_server_that_is_none_is_survived(lines: list[bytes], error: Any) -> None:
    talking = _talker(lines)
    channel = Email(f"127.0.0.1:{next(talking)}", "a@example.com", (ALICE,), within=timedelta(seconds=1))
    started = time.monotonic()

    with pytest.raises(error):
        _tell(channel, {}, notice())

    assert time.monotonic() - started < 3
    talking.close()


# The letter ---------------------------------------------------------------------------------------------------------------


def test_letters_about_an_incident_are_one_thread(channel: Email, server: MailServer) -> None:
    whats: tuple[What, ...] = ("changed", "acknowledged", "resolved", "reopened")

    _tell(channel, {}, notice(key="INC-7/1"), *(notice(what, key=f"INC-7/{number}") for number, what in enumerate(whats, 2)))

    letters = [one.read for one in server.letters]
    ids = [str(one["Message-ID"]) for one in letters]
    assert len(set(ids)) == 5
    assert [one["In-Reply-To"] for one in letters] == [None, *[ids[0]] * 4]
    assert [one["References"] for one in letters] == [None, *[ids[0]] * 4]
    assert {str(one["Subject"]) for one in letters} == {"[P1 INC-7] web-1: HTTP flood"}


def test_a_worse_severity_stands_in_the_subject_and_a_better_one_does_not(channel: Email, server: MailServer) -> None:
    _tell(channel, {}, notice(), notice("changed", "P0"), notice("changed", "P2"))

    assert [str(one.read["Subject"])[:10] for one in server.letters] == ["[P1 INC-7]", "[P0 INC-7]", "[P0 INC-7]"]


def test_incidents_of_another_host_or_of_a_new_journal_are_other_letters(channel: Email, server: MailServer) -> None:
    _tell(channel, {}, notice())
    _tell(channel, {}, notice(opened=1.0))
    _tell(channel, {}, notice(host="web-2"))

    ids = [str(one.read["Message-ID"]) for one in server.letters]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"<INC\.7\.1\.[0-9a-f]{16}@web-[12]>", one) or one.startswith("<INC-7") for one in ids)


def test_no_program_answers_a_letter(channel: Email, server: MailServer) -> None:
    _tell(channel, {}, notice("opened", "P0"))

    letter = server.letters[0].read
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Precedence"] == "bulk"
    assert letter["X-Auto-Response-Suppress"] == "All"
    assert letter["Importance"] == "high"
    assert parsedate_to_datetime(letter["Date"]).timestamp() == int(notice().at)


def test_a_letter_begins_with_what_stands_alone_and_has_all_parts(channel: Email, server: MailServer) -> None:
    _tell(channel, {}, notice(dry=True, assigned="bob"))

    text, page = server.letters[0].part("plain"), server.letters[0].part("html")
    assert text.startswith("P1 http-flood: 31 addresses flood shop (1,840 r/s). Contained in 37 s. Not acknowledged.\n")
    for one in ("What we saw:", "What we did (dry run", "What we need from you:\n  Say", "  contain ack INC-7", "and 29 more"):
        assert one in text
    assert "runbook: https://wiki.example.com/http-flood" in text
    assert "assigned to bob" in text
    assert _words(page).startswith("P1 http-flood: 31 addresses flood shop (1,840 r/s).")
    assert "contain ack INC-7" in _words(page)


def test_a_page_is_for_phones_and_for_the_dark_and_fetches_nothing() -> None:
    page = in_html(notice())

    assert '<meta name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme:dark" in page
    assert not re.search(r"<(img|script|link|iframe|object|form|base|svg)|url\(|@import|\son\w+=", page)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self._out = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._out += tag in ("style", "title", "a")
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "background")]

    def handle_endtag(self, tag: str) -> None:
        self._out -= tag in ("style", "title", "a")

    def handle_data(self, data: str) -> None:
        if not self._out:
            self.text.append(data)


def _words(page: str) -> str:
    found = _Links()
    found.feed(page)
    return "".join(found.text)


_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "ul", "li", "a", "span"}
_LINKING = re.compile(r"(?i)[a-z][a-z0-9+-]*://|www\.|mailto:|\w@\w|[a-z]\.[a-z]|javascript:")


@settings(max_examples=30, deadline=None)
@given(one=hostile())
def test_whatever_strangers_wrote_becomes_no_link_and_no_markup(one: Notice) -> None:
    found = _Links()
    found.feed(in_html(one))
    text = (
        plain(one).replace("https://wiki.example.com/http-flood", "").replace("https://web-1.example.com:8443/incident/INC-7", "")
    )

    assert sorted(found.links) == sorted(address for _, address in one.links)
    assert found.tags <= _TAGS
    assert not [data for data in found.text if _LINKING.search(data)]
    assert not _LINKING.search(text)
    assert "\r" not in text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=hostile())
def test_no_text_becomes_a_header(one: Notice) -> None:
    channel = Email("127.0.0.1:25", "containment@example.com", (ALICE, BOB))
    name = subject(one)

    raw = channel._letter(one, {"root": "<a@b>", "subject": name}).as_bytes()

    head = raw.partition(b"\r\n\r\n")[0].decode("ascii")
    names = re.findall(r"(?m)^([^\s:]+):", head)
    expected = {"From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "Precedence"}
    assert set(names) - {"Importance"} == expected | {"X-Auto-Response-Suppress", "MIME-Version", "Content-Type"}
    assert len(names) == len(set(names))
    assert all(len(line) < 998 for line in head.split("\r\n"))
    assert "\n" not in name
    assert len(name) < 1700


@pytest.mark.parametrize("text", [*HOSTILE, "=?utf-8?q?=0D=0ABcc:_x@evil.example?=", "a\x00b\u2028c\u202ed", "ü" * 100])
def test_a_subject_comes_through_as_it_was_written(channel: Email, server: MailServer, text: str) -> None:
    one = notice(title=text)

    _tell(channel, {}, one)

    letter = server.letters[0].read
    assert " ".join(str(letter["Subject"]).split()) == " ".join(subject(one).split())
    assert letter["Bcc"] is None
