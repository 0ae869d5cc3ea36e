"""What hostile requests run into. Each is sent as bytes, since a browser would not send most of them."""

from __future__ import annotations

import socket
import time

import pytest

from tests.pages.surfing import Page, Paged, Surfer, hidden
from tests.running import wait_for

PAGES = (
    *("/", "/incidents", "/incidents/{incident}", "/incidents/{incident}/undo", "/incidents/{incident}/report"),
    *("/mitigations", "/mitigations/{mitigation}/undo", "/approvals", "/approvals/{approval}"),
    *("/policies", "/policies/guessing", "/events", "/health"),
)
PATHS = (
    *("/../etc/passwd", "/style.css/../../settings.py", "//evil.example/", "/%2e%2e/%2e%2e/etc/passwd", "/templates/base.html"),
    *(
        "/.git/config",
        "/incidents/INC-1%0d%0aSet-Cookie:%20a=b",
        "/incidents/..%2f..%2fetc",
        "/policies/%00",
        "/static/style.css",
    ),
)
ODD = (
    *(f"/?said={'9' * 5000}", "/?said=%C2%B2", "/?said=-1", "/incidents/INC-99999999", "/mitigations/M-99999999/undo"),
    *("/approvals/A-0", "/events?kind=%ff&about=%00"),
)


@pytest.fixture(scope="module")
def names(paged: Paged) -> dict[str, str]:
    """An incident, a mitigation and an approval that are there."""
    paged.guess("203.0.113.40", 20)
    incident = paged.incident("guessing", "203.0.113.40")["id"]
    mitigation = wait_for(lambda: paged.blocked("203.0.113.40"))[0]["id"]
    waiting = wait_for(lambda: [one for one in paged.agent.ask("approvals")["items"] if one["target"] == "203.0.113.40"])
    return {"incident": incident, "mitigation": mitigation, "approval": waiting[0]["id"]}


def records(paged: Paged) -> int:
    return int(paged.agent.ask("status")["records"])


# Looking changes nothing ------------------------------------------------------------------------------------------------------


def test_looking_at_every_page_writes_no_record(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person()
    before = records(paged)

    for path in PAGES:
        for method in ("GET", "HEAD"):
            page = surfer.ask(method, path.format(**names))
            assert page.status == 200, (method, path, page)

    assert records(paged) == before


def test_health_says_how_checks_channels_and_doors_are(paged: Paged) -> None:
    wait_for(lambda: paged.agent.ask("checks")["items"][0]["answers"])

    text = paged.person().get("/health").text

    assert "127.0.0.1:9" in text
    assert 'class="word bad">bad' in text
    assert ">ops<" in text
    assert f"http://127.0.0.1:{paged.port}" in text


def test_what_is_ordered_by_post_cannot_be_had_by_get(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person()
    before = records(paged)

    for path in (
        "/logout",
        "/incidents/{incident}/acknowledge",
        "/approvals/{approval}/approve",
        "/mitigations/{mitigation}/confirm",
    ):
        assert surfer.get(path.format(**names)).status == 405

    assert records(paged) == before
    assert surfer.get("/").status == 200


def test_every_page_has_its_headers_and_is_kept_by_nobody(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person()

    for path in (*PAGES, "/nowhere", "/login", "/login/x"):
        page = surfer.get(path.format(**names))

        assert page.headers["cache-control"] == "no-store", path
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["x-frame-options"] == "DENY"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "script" not in policy
        assert "<script" not in page.text
        assert " style=" not in page.text or path.endswith("/report")


# Who may come in --------------------------------------------------------------------------------------------------------------


def test_nobody_sees_anything_without_a_login(paged: Paged, names: dict[str, str]) -> None:
    stranger = paged.surfer()

    for path in (*PAGES, "/nowhere"):
        page = stranger.get(path.format(**names))

        assert page.status == 403, path
        assert "contain web" in page.text
        assert "203.0.113" not in page.text
        assert "db1" not in page.text


def test_a_link_that_was_only_looked_at_still_logs_in_and_once(paged: Paged) -> None:
    address = paged.link()
    path = "/login/" + address.rpartition("/")[2]
    for _ in range(3):
        assert paged.surfer().get(path).status == 200  # a mail scanner

    first, again = paged.surfer().log_in(address), paged.surfer().log_in(address)

    assert first.status == 303
    assert again.status == 403
    assert "set-cookie" not in again.headers


def test_the_cookie_is_for_this_browser_alone(paged: Paged) -> None:
    page = paged.surfer().log_in(paged.link())

    flags = {one.strip().lower() for one in page.headers["set-cookie"].split(";")[1:]}
    assert flags == {"httponly", "path=/", "samesite=strict"}
    assert page.headers["set-cookie"].startswith("containment=")


def test_behind_a_proxy_that_speaks_tls_the_cookie_never_goes_in_the_clear(paged: Paged) -> None:
    surfer = paged.surfer()
    link = paged.link().rpartition("/")[2]

    page = surfer.post("/login", {"link": link}, Origin=f"https://{surfer.host}")

    name, _, flags = page.headers["set-cookie"].partition("=")
    assert name == "__Host-containment"
    assert "Secure" in flags
    surfer.cookie = page.headers["set-cookie"].partition(";")[0]
    assert surfer.get("/").status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9444", "127.0.0.1.evil.example", "", "localhost:1:2", "[::1", "a b"]
)
def test_another_name_for_this_host_leads_nowhere(paged: Paged, host: str) -> None:
    surfer = paged.person()

    page = surfer.get("/", Host=host)

    assert page.status in (400, 421)
    assert "db1" not in page.text
    assert surfer.ask("GET", "/", Host=None).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:9444"])
def test_the_names_of_loopback_are_known(paged: Paged, host: str) -> None:
    assert paged.surfer().get("/login", Host=host).status == 200


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://["},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": None, "Origin": None},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_form_on_another_site_orders_nothing_and_logs_nobody_in(
    paged: Paged, names: dict[str, str], headers: dict[str, str | None]
) -> None:
    surfer = paged.person()
    form = surfer.get("/incidents").form
    link = paged.link()
    before = records(paged)

    ordered = surfer.post(f"/incidents/{names['incident']}/acknowledge", {"form": form}, **headers)
    entered = paged.surfer().post("/login", {"link": link.rpartition("/")[2]}, **headers)

    assert (ordered.status, entered.status) == (403, 403)
    assert "set-cookie" not in entered.headers
    assert records(paged) == before
    assert paged.surfer().log_in(link).status == 303


def test_a_form_without_its_word_or_with_that_of_another_login_orders_nothing(paged: Paged, names: dict[str, str]) -> None:
    surfer, other = paged.person(), paged.person()
    path = f"/incidents/{names['incident']}/acknowledge"
    before = records(paged)

    answers = [surfer.post(path, one).status for one in ({}, {"form": ""}, {"form": "é"}, {"form": other.get("/incidents").form})]

    assert answers == [403, 403, 403, 403]
    assert records(paged) == before


def test_a_login_to_look_only_orders_nothing_and_can_go(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person(read_only=True)
    page = surfer.get(f"/incidents/{names['incident']}")
    before = records(paged)

    ordered = surfer.post(f"/incidents/{names['incident']}/acknowledge", {"form": page.form})

    assert ordered.status == 403
    assert "to look only" in page.text
    assert "Acknowledge" not in page.text
    assert records(paged) == before
    assert surfer.post("/logout", {"form": page.form}).status == 303


def test_whoever_logs_out_is_out_at_once_and_so_are_all_by_contain_web_logout(paged: Paged) -> None:
    one, two, three = paged.person(), paged.person(), paged.person()
    unused = paged.link()

    left = one.post("/logout", {"form": one.get("/health").form})
    assert (left.status, one.get("/").status, two.get("/").status) == (303, 403, 200)
    assert 'containment=""' in left.headers["set-cookie"] or "containment=;" in left.headers["set-cookie"]
    said = paged.agent.contain("web", "--logout")

    assert said.stdout.startswith("Logged out: ")
    assert (two.get("/").status, three.get("/").status) == (403, 403)
    assert paged.surfer().log_in(unused).status == 403


def test_contain_web_prints_a_link_that_logs_in(paged: Paged) -> None:
    said = paged.agent.contain("web", "--read-only")

    assert said.returncode == 0, said
    page = paged.surfer().log_in(said.stdout.strip())
    assert page.status == 303
    known = paged.agent.contain("evidence", "show").stdout
    assert "was given a link that logs in to the pages once, to look only" in known
    assert said.stdout.strip().rpartition("/")[2] not in known


def test_guessing_links_is_slowed_down_and_a_good_link_still_works(paged: Paged) -> None:
    surfer = paged.surfer()
    link = paged.link()

    answers = [surfer.post("/login", {"link": f"guess-{number}"}) for number in range(30)]

    assert {one.status for one in answers} == {403, 429}
    assert paged.surfer().log_in(link).status == 303


def test_a_person_is_one_person_in_the_shell_and_in_the_browser() -> None:
    from agent.pages.sessions import by_web
    from agent.people.consent import name_of

    for actor in ("alice (uid 1000)", "alice (uid 0, logged in as 1000)", "uid 1234 (uid 1234)"):
        assert name_of(by_web(actor)) == name_of(actor)
    assert by_web("alice (uid 1000)") == "alice (uid 1000, by web)"


# Requests that no browser sends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file_or_out_of_the_pages(paged: Paged, path: str) -> None:
    for surfer in (paged.person(), paged.surfer()):
        page = surfer.get(path)

        assert page.status in (400, 403, 404), page
        assert "root:" not in page.text
        assert "set-cookie" not in page.headers
        assert "location" not in page.headers
        assert "url=//" not in page.text


def test_a_link_from_another_site_is_followed_within_the_pages_only(paged: Paged) -> None:
    surfer = paged.surfer()

    known = surfer.get("/incidents/INC-1", Sec_Fetch_Site="cross-site")
    again = surfer.get("/incidents/INC-1?again=1", Sec_Fetch_Site="cross-site")
    strange = surfer.get("//evil.example/", Sec_Fetch_Site="cross-site")

    assert 'content="0;url=/incidents/INC-1?again=1"' in known.text
    assert "contain web" in again.text
    assert "refresh" not in strange.text
    assert {known.status, again.status, strange.status} <= {400, 403}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused_and_echo_nothing(paged: Paged, method: str) -> None:
    page = paged.person().ask(method, "/", X_Mine="echo-me")

    assert page.status in (400, 405, 501)
    assert "echo-me" not in page.text


def test_a_body_is_small_and_has_a_length(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person()
    path = f"/incidents/{names['incident']}/note"
    form = surfer.get("/incidents").form
    before = records(paged)

    huge = surfer.post(path, {"form": form, "text": "x" * 100_000})
    claimed = surfer.ask("POST", path, Content_Length="999999999")
    chunked = surfer.ask("POST", path, Content_Length=None, Transfer_Encoding="chunked")
    parts = (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % number for number in range(200))
        + b"--b--\r\n"
    )
    many = surfer.ask("POST", path, parts, Content_Type="multipart/form-data; boundary=b")
    long = surfer.post(path, {"form": form, "text": "x" * 5000})

    assert [huge.status, claimed.status, chunked.status, many.status] == [413, 413, 411, 413]
    assert long.status == 303
    assert "Not done" in surfer.get(long.headers["location"]).text
    assert records(paged) == before


def test_whoever_is_slow_is_cut_off_and_keeps_nobody_out(paged: Paged) -> None:
    slow = [socket.create_connection(("127.0.0.1", paged.port), timeout=15) for _ in range(20)]
    begun = time.monotonic()
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")

    assert paged.surfer().get("/login").status == 200
    assert time.monotonic() - begun < 2
    ended = [one.recv(1000) for one in slow]

    assert time.monotonic() - begun < 12
    assert all(one == b"" or b" 408 " in one or b" 400 " in one for one in ended)
    for one in slow:
        one.close()


def test_odd_numbers_and_names_in_addresses_are_no_bugs(paged: Paged) -> None:
    surfer = paged.person()

    for path in ODD:
        page = surfer.get(path)

        assert page.status in (200, 404), (path[:40], page.status)
    assert "a bug in the pages" not in paged.agent.log.read_text()


# Orders -----------------------------------------------------------------------------------------------------------------------


def order(paged: Paged, surfer: Surfer, path: str, **fields: str) -> Page:
    return surfer.order(path, **fields)


def test_every_order_about_an_incident_does_what_it_says(paged: Paged) -> None:
    surfer = paged.person()
    name = paged.agent.ask("report", text="the shop is slow", severity="P3")["incident"]
    path = f"/incidents/{name}"

    def now() -> dict[str, object]:
        return next(dict(one) for one in paged.agent.ask("incidents", ended=True)["items"] if one["id"] == name)

    assert "Your note stands" in surfer.order(f"{path}/note", text="looks like the cache").text
    assert f"{name} is bob&#39;s" in surfer.order(f"{path}/assign", to="bob").text
    assert now()["assigned"] == "bob"
    assert f"{name} is P2 now" in surfer.order(f"{path}/severity", severity="P2", why="many see it").text
    assert now()["severity"] == "P2"
    assert "Not done" in surfer.order(f"{path}/severity", severity="P9", why="x").text
    assert "Nobody is told" in surfer.order(f"{path}/silence", length="30 min", why="known").text
    silence = paged.agent.ask("silences")["items"][-1]["id"]
    assert f"Ended {silence}" in surfer.order(f"/silences/{silence}/end").text
    assert "Not done" in surfer.order(f"{path}/resolve", why="").text
    assert f"{name} is resolved" in surfer.order(f"{path}/resolve", why="the cache is back").text
    assert now()["phase"] == "resolved"
    assert f"{name} is open again" in surfer.order(f"{path}/reopen", why="not yet").text
    assert f"{name} is closed: it was none" in surfer.order(f"{path}/false-positive", why="a load test").text
    assert now()["phase"] == "closed"
    assert "looks like the cache" in surfer.get(path).text
    assert surfer.post(f"{path}/explode", {"form": surfer.get(path).form}).status == 404


def test_a_yes_is_for_the_plan_that_was_shown(paged: Paged, names: dict[str, str]) -> None:
    surfer = paged.person()
    path = f"/approvals/{names['approval']}"
    plan = hidden(surfer.get(path).text, "plan")

    other = surfer.order(f"{path}/approve", plan="0123456789abcdef", why="x", typed="203.0.113.40")
    blind = surfer.order(f"{path}/approve", plan="", why="x", typed="203.0.113.40")
    denied = surfer.order(f"{path}/deny", why="our own test")

    assert f"is about plan {plan} now" in other.text
    assert "Not done" in blind.text
    assert "it is not done" in denied.text
    (one,) = [one for one in paged.agent.ask("approvals")["items"] if one["id"] == names["approval"]]
    assert "said no: our own test" in one["over"]
