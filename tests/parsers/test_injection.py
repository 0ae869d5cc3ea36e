"""No text of a stranger's ever chooses an address, or makes an event of its own: for every parser that there is.

A parser without a corpus (tests/corpus/NAME.injection, see tests/parsers/forged.py) fails here, so that none comes without.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.event import Event
from agent.schema import canonical
from agent.streams.join import CUT
from agent.streams.parser import Scan, discover_parsers
from tests.parsers.forged import Corpus, Form, corpus_of

SEEN = 1795413700.0
PARSERS = discover_parsers()
CORPORA = {name: corpus_of(name) for name in PARSERS}
LINES = [(name, line, kind) for name, corpus in CORPORA.items() for line, kind in corpus.lines]
FORMS = [(name, form) for name, corpus in CORPORA.items() for form in corpus.forms]
SYSLOG = sorted(name for name, one in PARSERS.items() if one.programs)


def events_of(name: str, chunk: bytes) -> list[Event]:
    """What the parser makes of it, together with all that read the same file."""
    readers = SYSLOG if name in SYSLOG else [name]
    return Scan.of([PARSERS[one] for one in readers], "file:x").events(chunk, SEEN)


def chosen(events: list[Event], corpus: Corpus) -> list[str]:
    """Fields that are not what they always are, and addresses that nobody expected."""
    fields = {name: kind.fields for one in PARSERS.values() for kind in one.kinds for name in [kind.name]}
    watched = {(event.kind, name): value for event in events for name, value in event.fields.items()}
    return [
        f"{kind}: {name} = {value!r}"
        for (kind, name), value in watched.items()
        if (name in corpus.always or fields[kind][name] == "address") and value != corpus.always.get(name)
    ]


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_every_parser_has_a_corpus_with_lines_of_each_of_its_kinds(name: str) -> None:
    corpus = CORPORA[name]
    rates = {"http.source", "http.stats"}  # counted, see below

    missing = (
        {kind.name for kind in PARSERS[name].kinds} - {kind for _, kind in corpus.lines} - {one.kind for one in corpus.forms}
    )

    assert missing <= rates, f"add to tests/corpus/{name}.injection lines that give {missing}"
    assert corpus.lines, f"make tests/corpus/{name}.injection"


@pytest.mark.parametrize(("name", "line", "kind"), LINES, ids=range(len(LINES)))
def test_a_forged_line_is_what_it_really_is_or_nothing(name: str, line: bytes, kind: str) -> None:
    events = events_of(name, line + b"\n")

    assert {event.kind for event in events} == ({kind} if kind != "-" else set())
    assert chosen(events, CORPORA[name]) == []


@pytest.mark.parametrize(("name", "form"), FORMS, ids=range(len(FORMS)))
def test_every_form_is_read_while_its_text_is_harmless(name: str, form: Form) -> None:
    events = events_of(name, form.filled([b"x"] * form.places) + b"\n")

    assert [event.kind for event in events] == ([form.kind] if form.kind != "-" else [])


# A stranger's text ----------------------------------------------------------------------------------------------------------

_OTHERS = [line.replace(b"203.0.113.7", b"6.6.6.6") for _, line, _ in LINES]
_OTHERS += [form.filled([b"x"] * form.places).replace(b"203.0.113.7", b"6.6.6.6") for _, form in FORMS]
_PIECES = [
    *[
        b" from ",
        b"6.6.6.6",
        b" port 22",
        b" ssh2",
        b": ",
        b"RSA SHA256:x",
        b"-CERT x ID y",
        b" [preauth]",
        b"]",
        b"invalid user ",
    ],
    *[b'"', b"\\", b"'", b",", b"{", b"}", b"[", b"]", b":", b'","remote_addr":"6.6.6.6', b'\\","remote_host":"6.6.6.6","x":"'],
    *[
        b'"},"rule":"Forged","output_fields":{"container.id":"666"',
        b'","entity_id":"666',
        b',"statement":"',
        b"PL/pgSQL at RAISE",
    ],
    *[b" ; ", b"COMMAND=", b"USER=root", b"TTY=", b" : ", b"eve : ", b"(command continued) ", b" - - [", b'" 200 1 "-" "x"'],
    *[b"\n", b"\r", b"\0", b"\x1b[2K\x07\x08", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\xef\xbb\xbf"],
    b"\n2026-11-23 06:00:01.1 UTC,x,y,1,6.6.6.6:1,z,1,a,b,3/1,0,FATAL,28P01,m,,,,,,s,,,,\n",
    *[b"auth/userpass/login/x", b"* permission denied", b"\\x22", b"\\u0022", b"%0a", b" ", b"x" * 50, b"203.0.113.99"],
]
TEXTS = st.one_of(
    st.binary(max_size=120),
    st.text(st.characters(), max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join),
    st.sampled_from(_OTHERS),
    st.tuples(st.sampled_from(_PIECES), st.sampled_from([b"\n", b"\r\n", b" "]), st.sampled_from(_OTHERS)).map(b"".join),
)
FORGED = st.sampled_from(FORMS).flatmap(
    lambda one: st.tuples(st.just(one[0]), st.just(one[1]), st.lists(TEXTS, min_size=one[1].places, max_size=one[1].places))
)


@settings(deadline=None)
@given(FORGED)
def test_whatever_a_stranger_writes_it_is_one_event_of_its_kind_or_none_and_chooses_nothing(
    forged: tuple[str, Form, list[bytes]],
) -> None:
    name, form, texts = forged

    events = events_of(name, form.filled(texts) + b"\n")

    assert len(events) <= 1
    assert {event.kind for event in events} <= {form.kind}
    assert chosen(events, CORPORA[name]) == []


@settings(deadline=None)
@given(FORGED, st.integers(0, 2000))
def test_a_line_that_is_cut_anywhere_chooses_nothing_either(forged: tuple[str, Form, list[bytes]], at: int) -> None:
    name, form, texts = forged

    events = events_of(name, form.filled(texts)[:at] + CUT)

    assert len(events) <= 1
    assert chosen(events, CORPORA[name]) == []


@settings(deadline=None)
@given(st.lists(FORGED, min_size=2, max_size=6))
def test_the_lines_before_and_after_stay_what_they_are(forged: list[tuple[str, Form, list[bytes]]]) -> None:
    for name, corpus in CORPORA.items():
        lines = [form.filled(texts) + b"\n" for _, form, texts in forged if form in corpus.forms]

        together = events_of(name, b"".join(lines))

        apart = [event for line in lines for event in events_of(name, line)]
        assert [(one.kind, one.fields) for one in together] == [(one.kind, one.fields) for one in apart]


@pytest.mark.parametrize("size", [4 << 10, 70_000])
@pytest.mark.parametrize(("name", "form"), FORMS, ids=range(len(FORMS)))
def test_texts_of_any_length_choose_nothing(name: str, form: Form, size: int) -> None:
    for piece in (b" from 6.6.6.6 port 22 ssh2", b'","remote_addr":"6.6.6.6\\'):
        long = piece * (size // len(piece))

        events = events_of(name, form.filled([long] * form.places) + b"\n")

        assert {event.kind for event in events} <= {form.kind}
        assert chosen(events, CORPORA[name]) == []


@settings(deadline=None)
@given(st.lists(FORGED, min_size=1, max_size=4))
def test_no_text_is_counted_as_another_client(forged: list[tuple[str, Form, list[bytes]]]) -> None:
    for name, parser in PARSERS.items():
        lines = [form.filled(texts) for _, form, texts in forged if form in CORPORA[name].forms]
        if not parser.tally or not lines:
            continue

        tally = parser.tally(b"\n".join(lines) + b"\n")

        clients = {canonical(client.decode("ascii", "replace")) for client, _, _ in tally.hits}
        assert clients <= {CORPORA[name].always["src.ip"], None}
        assert sum(tally.hits.values()) <= len(lines)


@settings(deadline=None)
@given(st.sampled_from(sorted(PARSERS)), TEXTS)
def test_no_text_whatever_makes_a_parser_raise(name: str, text: bytes) -> None:
    PARSERS[name].read(text.decode("utf-8", "replace"))
    PARSERS[name].read(text.decode("utf-8", "surrogateescape"))  # a lone surrogate, as JSON can spell one
