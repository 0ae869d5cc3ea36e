"""The pages in a real browser: a person acknowledges, approves and lifts; hostile text stays text; no complaints."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agent.visible import visible
from tests.pages.browsing import Browser
from tests.pages.surfing import Paged
from tests.running import wait_for

SPELLS = (
    "<script>document.title='spelled'</script>",
    "<img src=x onerror=document.title='spelled'>",
    "\"><svg/onload=document.title='spelled'>",
    "'><b class=spelled>spelled</b>",
    "<a href=//evil.example class=spelled>here</a>",
    "{{ 7 * 191 }}{% include 'base.html' %}",
    "&lt;b class=spelled&gt;",
    "</title></textarea></code><h1 class=spelled>",
    "javascript:document.title='spelled'",
    "\u202egpj.exe\u2066\x1b[31m\x07\u200b",
)
"""What strangers write where they may choose a text. Nothing of it may become an element, run, or turn the page's text round."""


@pytest.fixture
def browser(paged: Paged, chromium: Browser) -> Iterator[Browser]:
    """The browser, logged in; at the end its console must have been silent."""
    chromium.size(1280, 900)
    chromium.open("about:blank")
    chromium.complaints()
    chromium.open(paged.link())
    chromium.press("Log in")
    yield chromium
    assert chromium.complaints() == []


def open_page(paged: Paged, browser: Browser, path: str) -> None:
    browser.open(f"http://127.0.0.1:{paged.port}{path}")


def test_a_person_logs_in_sees_what_goes_on_and_says_to_be_on_it(paged: Paged, browser: Browser) -> None:
    paged.guess("203.0.113.20", 5)
    name = paged.incident("guessing", "203.0.113.20")["id"]

    open_page(paged, browser, "/")
    browser.press(name)
    assert browser.find("main a[rel]").get_attribute("href") == "https://wiki.example.com/ssh?a=1&b=%3Cb%3E"
    browser.press("Acknowledge")

    assert browser.path.startswith(f"/incidents/{name}?said=")
    assert f"You are on {name}" in browser.find(".said.good").text
    one = paged.incident("guessing", "203.0.113.20")
    assert one["acked"] is not None
    assert one["acked_by"] == "root (uid 0, by web)"
    assert "is acknowledged by root (uid 0, by web)" in browser.find(".timeline").text


def test_a_person_lifts_what_is_in_force_with_a_reason(paged: Paged, browser: Browser) -> None:
    paged.guess("203.0.113.21", 5)
    held = wait_for(lambda: paged.blocked("203.0.113.21"))[0]["id"]

    open_page(paged, browser, f"/incidents/{paged.incident('guessing', '203.0.113.21')['id']}")
    browser.press("Lift")
    assert "firewall.unblock" in browser.find(".calls").text
    browser.fill("#why", "our own scanner")
    browser.press(f"Lift {held}")

    assert f"Lifted: {held}" in browser.find(".said.good").text
    assert paged.blocked("203.0.113.21") == []
    known = paged.agent.contain("evidence", "show", "--mitigation", held).stdout
    assert "root (uid 0, by web)" in known
    assert "our own scanner" in known


def test_a_person_says_yes_to_the_plan_that_is_shown_once_its_target_is_typed(paged: Paged, browser: Browser) -> None:
    paged.guess("203.0.113.22", 20)
    question = wait_for(lambda: [one for one in paged.agent.ask("approvals")["items"] if one["target"] == "203.0.113.22"])[0]
    wait_for(lambda: paged.blocked("203.0.113.22"))

    open_page(paged, browser, "/approvals")
    browser.find(f"a[href='/approvals/{question['id']}']").click()
    assert "drop every packet from and to 203.0.113.22" in browser.find(".plan").text
    browser.fill("#yes-why", "seen it in the log")
    browser.fill("#typed", "203.0.113.2")
    browser.press("Yes, do this plan")
    assert "type 203.0.113.22 exactly" in browser.find(".said.bad").text
    browser.fill("#yes-why", "seen it in the log")
    browser.fill("#typed", "203.0.113.22")
    browser.press("Yes, do this plan")

    assert f"Approved {question['id']}" in browser.find(".said").text
    (after,) = [one for one in paged.agent.ask("approvals")["items"] if one["id"] == question["id"]]
    assert after["over"] == "root (uid 0, by web) said yes"
    assert max(one["left"] for one in paged.blocked("203.0.113.22")) > 5 * 3600


def test_a_policy_acts_only_after_its_name_was_typed(paged: Paged, browser: Browser) -> None:
    def mode() -> Any:
        return next(one["mode"] for one in paged.agent.ask("policies")["items"] if one["policy"] == "odd-user")

    open_page(paged, browser, "/policies/odd-user")
    browser.find("input[value=dry_run]").click()
    browser.press("Set the mode")
    assert mode() == "dry_run"
    open_page(paged, browser, "/policies/odd-user")
    browser.find("input[value=enforce]").click()
    browser.press("Set the mode")
    assert mode() == "dry_run"
    browser.find("input[value=enforce]").click()
    browser.fill("#typed", "odd-user")
    browser.press("Set the mode")

    assert mode() == "enforce"


def test_text_of_strangers_stays_text_on_every_page(paged: Paged, browser: Browser) -> None:
    planted = {plant(paged, spell, number): spell for number, spell in enumerate(SPELLS)}
    incidents = [f"/incidents/{name}" for name in planted]
    hostile = f"/events?kind={quote(SPELLS[2])}&about={quote(SPELLS[3])}"

    for path in ("/", "/incidents", "/events", hostile, "/health", "/approvals", *incidents):
        open_page(paged, browser, path)

        assert "spelled" not in browser.driver.title, path
        assert browser.count(".spelled, main :is(script, img, svg, [onload], [onerror])") == 0, path
        assert browser.count("main :is(a[href*=evil], a[href^='javascript'])") == 0, path
        assert "1337" not in browser.text, path
        assert not {"\u202e", "\u2066", "\x1b", "\u200b"} & set(browser.driver.page_source), path
        if spell := planted.get(path.rpartition("/")[2]):
            assert " ".join(visible(spell).split()) in browser.find(".timeline").text


def plant(paged: Paged, spell: str, number: int) -> str:
    """A hostile text wherever strangers may write: user names, labels of alerts, a report and all that people add to it."""
    paged.guess("203.0.113.99", 2, user=spell)
    labels = {"alertname": spell, "instance": spell, "service": spell}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": spell, "description": spell}}
    alert |= {"startsAt": "2026-11-23T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": f"{number:016x}"}
    alert |= {"generatorURL": f"javascript:alert({number})"}
    body = {"version": "4", "receiver": "r", "status": "firing", "alerts": [alert], "groupKey": spell, "truncatedAlerts": 0}
    send_alert(paged, json.dumps(body).encode())
    made = paged.agent.ask("report", text=spell, service=spell, severity="P3")
    name = str(made["incident"])
    paged.agent.ask("note", what=name, text=spell)
    paged.agent.ask("assign", what=name, to=spell, why=spell)
    paged.agent.ask("silence", incident=name, seconds=60.0, why=spell)
    return name


def send_alert(paged: Paged, body: bytes) -> None:
    """As Alertmanager does, over the intake's socket."""
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(20)
        there.connect(str(paged.agent.socket.parent / "intake.sock"))
        head = "POST /in/am HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer a-secret-of-thirty-two-characters\r\n"
        there.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 202"), answer


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_pages_fit_the_screen_by_day_and_by_night(
    paged: Paged, browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    paged.guess("203.0.113.23", 20)
    incident = paged.incident("guessing", "203.0.113.23")["id"]
    shots = Path(os.environ.get("PAGES_SHOTS", tmp_path))
    browser.size(width, 1400, scheme)

    for path in ("/", f"/incidents/{incident}", f"/incidents/{incident}/undo", "/approvals", "/policies", "/events", "/health"):
        open_page(paged, browser, path)

        browser.picture(shots / f"{path.strip('/').replace('/', '-') or 'now'}-{width}-{scheme}.png")
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{path} is {wide} pixels wide"


def test_every_page_can_be_gone_through_by_keyboard_and_names_its_fields(paged: Paged, browser: Browser) -> None:
    paged.guess("203.0.113.24", 20)
    incident = paged.incident("guessing-hard", "203.0.113.24")["id"]
    bare = """return [...document.querySelectorAll('main input:not([type=hidden]), main select, main textarea')]
        .filter(one => one.labels.length === 0).map(one => one.outerHTML)"""
    doubled = "return [...document.querySelectorAll('[id]')].map(one => one.id).filter((id, at, all) => all.indexOf(id) !== at)"

    for path in ("/", f"/incidents/{incident}", "/events", "/policies/guessing", "/mitigations", "/approvals"):
        open_page(paged, browser, path)

        assert browser.driver.execute_script(bare) == [], path
        assert browser.driver.execute_script(doubled) == [], path
        assert browser.count("h1") == 1, path
        browser.find("body").send_keys("\ue004")  # Tab
        assert browser.driver.switch_to.active_element.text == "Skip to the content"


def test_a_link_from_another_site_finds_whoever_is_logged_in(paged: Paged, browser: Browser) -> None:
    open_page(paged, browser, "/health")
    there = f"http://127.0.0.1:{paged.port}/policies"
    browser.open(f"http://localhost:{paged.port}/login")  # another site, as a browser sees it

    browser.driver.execute_script(f"location.href = '{there}'")

    wait_for(lambda: "Policies" in browser.text and "guessing-hard" in browser.text)
    browser.complaints()
