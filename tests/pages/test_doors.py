"""Where the pages listen: TLS, client certificates, a unix socket for a proxy, an address that is taken; and how logins end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.intake.settings import Listen, Tls
from agent.messages import Asked
from agent.pages.serving import Pages
from agent.pages.sessions import AT_ONCE, IDLE, KEPT, LINK, LONGEST, OF_ONE, Said, Sessions
from agent.pages.settings import Settings
from tests.certificates import certificate
from tests.pages.surfing import Surfer, free_port
from tests.running import wait_for

ALICE = "alice (uid 1000)"


def stopped(verb: str, body: Mapping[str, Any], actor: str) -> Mapping[str, Any]:
    """An agent that is at its end: all that these tests need of one."""
    return {"error": f"the agent is stopping; {actor} asked {verb} {dict(body)}"}


@contextmanager
def serving(settings: Settings, place: Path) -> Iterator[Pages]:
    pages = Pages(settings, place / "journal.db")
    pages.begin(stopped)
    try:
        wait_for(lambda: pages.status()["listens"])
        yield pages
    finally:
        pages.close()


def opened(pages: Pages) -> bool:
    return not any(pages.status()["listens"].values())


class Encrypted(Surfer):
    """A browser that speaks TLS, perhaps with a certificate of its own."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port, f"shop1.example.com:{port}")
        self.context = context

    def send(self, raw: bytes) -> bytes:
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        with bare, self.context.wrap_socket(bare, server_hostname="shop1.example.com") as there:
            there.sendall(raw.replace(b"Origin: http:", b"Origin: https:"))
            return b"".join(iter(lambda: there.recv(1 << 16), b""))


def private(made: Path) -> Path:
    """The key beside a certificate, which only its owner may read."""
    key = next(one for one in made.parent.iterdir() if one.stem == made.stem and one != made)
    key.chmod(0o600)
    return key


def test_over_tls_the_cookie_never_goes_in_the_clear_and_a_page_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    shown, port = certificate(tmp_path, 30, name="shop1.example.com"), free_port()
    tls = Tls(shown, private(shown))

    with serving(Settings(Listen("127.0.0.1", port), None, ("shop1.example.com",), tls), tmp_path) as pages:
        wait_for(lambda: opened(pages))
        answer, record = pages.asked(Asked("web", {}, ALICE))
        surfer = Encrypted(port, ssl.create_default_context(cafile=shown))
        page = surfer.log_in(answer["address"])

        assert answer["address"].startswith(f"https://shop1.example.com:{port}/login/")
        assert record is not None
        assert record.body == {"actor": ALICE, "read_only": False}
        assert page.headers["set-cookie"].startswith("__Host-containment=")
        assert "Secure" in page.headers["set-cookie"]
        busy = surfer.get("/")
        assert busy.status == 503
        assert "alice (uid 1000, by web) asked status" in busy.text
        surfer.cookie = surfer.cookie.removeprefix("__Host-")
        assert surfer.get("/").status == 403
        assert surfer.get("/login", Host="127.0.0.2").status == 421


def test_with_a_client_ca_only_its_clients_see_anything(tmp_path: Path) -> None:
    shown, issuer = certificate(tmp_path, 30, name="shop1.example.com"), certificate(tmp_path, 30, name="issuer")
    client, port = certificate(tmp_path, 30, name="alice", issuer=issuer), free_port()
    settings = Settings(Listen("127.0.0.1", port), None, ("shop1.example.com",), Tls(shown, private(shown), issuer))
    bare, known = (ssl.create_default_context(cafile=shown) for _ in range(2))
    known.load_cert_chain(client, private(client))

    with serving(settings, tmp_path) as pages:
        wait_for(lambda: opened(pages))

        assert Encrypted(port, bare).get("/login").status == 403
        assert Encrypted(port, known).get("/login").status == 200


def test_a_proxy_comes_by_the_unix_socket_which_goes_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "pages.sock"

    with serving(Settings(None, path, ("shop1.example.com",)), tmp_path) as pages:
        wait_for(lambda: opened(pages))
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(20)
            there.connect(str(path))
            there.sendall(b"GET /login HTTP/1.1\r\nHost: shop1.example.com\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert pages.asked(Asked("web", {}, ALICE))[0]["address"].startswith("https://shop1.example.com/login/")

    assert not path.exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # cheroot 11 leaves the socket it could not bind
def test_an_address_that_is_taken_is_said_and_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        pages = Pages(Settings(Listen("127.0.0.1", port)), tmp_path / "journal.db")
        pages.begin(stopped)
        wait_for(lambda: "does nobody else listen there" in str(pages.status()["listens"]))

        answer, record = pages.asked(Asked("web", {}, ALICE))
        assert answer["result"] == "failed"
        assert "does nobody else listen there" in answer["error"]
        assert record is None
    wait_for(lambda: opened(pages))
    pages.close()


def test_nobody_gets_a_link_whom_the_kernel_does_not_name(tmp_path: Path) -> None:
    pages = Pages(Settings(Listen("127.0.0.1", 1)), tmp_path / "journal.db")

    assert pages.asked(Asked("web", {}, "unknown"))[0]["result"] == "refused"


# Logins -----------------------------------------------------------------------------------------------------------------------


class Watch:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def sessions(watch: Watch) -> Sessions:
    return Sessions(watch)


def entered(sessions: Sessions, actor: str = ALICE) -> str:
    found = sessions.enter(sessions.link(actor, read_only=False))
    assert found is not None
    return found[0]


def test_a_link_is_too_old_after_two_minutes(sessions: Sessions, watch: Watch) -> None:
    old, young = sessions.link(ALICE, read_only=False), sessions.link(ALICE, read_only=False)

    watch.now += LINK - 1
    assert sessions.enter(young) is not None
    watch.now += 1

    assert sessions.enter(old) is None


def test_a_page_that_reloads_itself_keeps_nobody_logged_in(sessions: Sessions, watch: Watch) -> None:
    cookie = entered(sessions)

    for _ in range(int(IDLE / 5) - 1):
        watch.now += 5
        assert sessions.find(cookie, clicked=False)
    watch.now += 5

    assert sessions.find(cookie, clicked=False) is None


def test_whoever_clicks_stays_for_eight_hours_and_no_longer(sessions: Sessions, watch: Watch) -> None:
    cookie = entered(sessions)

    for _ in range(int(LONGEST / 900) - 1):
        watch.now += 900
        assert sessions.find(cookie, clicked=True)
    watch.now += 900

    assert sessions.find(cookie, clicked=True) is None
    assert len(sessions) == 0


def test_one_person_has_few_logins_and_never_those_of_others(sessions: Sessions) -> None:
    bob, first = entered(sessions, "bob (uid 1001)"), entered(sessions)
    more = [entered(sessions) for _ in range(OF_ONE)]

    assert sessions.find(first, clicked=True) is None
    assert all(sessions.find(one, clicked=True) for one in (bob, *more))
    assert sessions.end("alice (uid 0, logged in as 1000)") == OF_ONE
    assert sessions.find(bob, clicked=True)


def test_the_memory_of_logins_links_and_answers_has_an_end(sessions: Sessions) -> None:
    for number in range(2 * AT_ONCE):
        cookie = entered(sessions, f"user{number} (uid {number})")
        sessions.link(f"user{number} (uid {number})", read_only=True)
    session = sessions.find(cookie, clicked=True)
    assert session is not None
    numbers = [session.tell(Said("good", str(one))) for one in range(3 * KEPT)]

    assert len(sessions) == AT_ONCE
    assert sorted(session.said) == numbers[-KEPT:]
