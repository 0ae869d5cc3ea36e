"""apprise: any of its services, here its own JSON one over a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from agent.notifiers.apprise import Apprise
from agent.notifying.bare import bare
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Refused, Unsure
from tests.notifiers.contract import Mischief, NotifierContract, Vendor, secretless, send_all
from tests.notifiers.notices import HOSTILE, hostile, notice
from tests.notifiers.slack_server import _ALONE, _EMPHASIS
from tests.notifiers.stand_in import Answer, Asked, StandIn

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise 2.2 still looks for it
SECRET = "sEcReTpAsSwOrD99"


class _Services:
    """apprise's service `json` as the contract wants to see it. It says yes or no, and never why."""

    secrets: tuple[str, ...] = (SECRET,)
    mischiefs: frozenset[Mischief] = frozenset({"error", "lost", "hang"})
    asks = False
    what: What = "changed"

    def __init__(self, folder: Path) -> None:
        self.told: list[dict[str, str]] = []
        self.http = StandIn(self._take)
        self.secret_file = folder / "apprise.urls"
        self.secret_file.write_text(f"# ours\njson://bob:{SECRET}@127.0.0.1:{self.http.port}/?rto=0.5&cto=0.5\n")
        self.secret_file.chmod(0o600)
        self.channel = Apprise(urls_file=self.secret_file, servers=("127.0.0.1",))

    def _take(self, asked: Asked) -> Answer:
        self.told.append(json.loads(asked.body))
        return Answer(200)

    def next(self, mischief: Mischief) -> None:
        self.http.mischiefs.append(mischief)

    def seen(self) -> int:
        return len(self.told)

    def stop(self) -> None:
        self.http.stop()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[_Services]:
    made = _Services(tmp_path)
    yield made
    made.stop()


class TestApprise(NotifierContract):
    @pytest.fixture
    def vendor(self, services: _Services) -> Vendor:
        return services

    def test_a_vendor_that_is_not_there_has_surely_not_taken_it(self, vendor: Vendor) -> None:
        vendor.stop()

        with pytest.raises(Unsure):  # apprise does not say why
            send_all(vendor.channel, notice(), {})


def test_the_message_says_all_that_people_need(services: _Services) -> None:
    send_all(services.channel, notice(), {})

    (told,) = services.told
    assert told["title"] == notice().headline
    assert told["type"] == "failure"
    assert "What we saw" in told["message"]
    assert told["message"].endswith("contain ack INC-7")


@given(one=hostile())
@settings(max_examples=200, deadline=None)
def test_a_strangers_words_hold_nothing_that_a_service_could_make_something_of(one: Notice) -> None:
    for text in (one.headline, *one.saw, *HOSTILE):
        made = bare(text)

        assert not _ALONE.findall(made)
        assert not _EMPHASIS.findall(made)
        assert not set("<>`*_|[]") & set(made.replace("[@]", "").replace("[.]", "").replace("[:]", ""))


def test_words_that_need_no_care_stay_as_they_are() -> None:
    text = (
        "P1 http-flood: 31 addresses flood shop (1,840 r/s) from 203.0.113.9, 2001:db8::1 and fe80::a:b at 10:12:30. Contained."
    )

    assert bare(text) == text


def test_an_address_that_apprise_does_not_know_is_said_without_it(services: _Services, capfd: pytest.CaptureFixture[str]) -> None:
    services.secret_file.write_text(f"nosuchservice://{SECRET}\n")

    with pytest.raises(Refused, match="does not know one of the addresses") as caught:
        send_all(services.channel, notice(), {})

    secretless(str(caught.value) + "".join(capfd.readouterr()), services.secrets)


def test_a_package_that_is_not_there_is_said_where_the_channel_is_written() -> None:
    script = (
        "import sys; sys.modules['apprise'] = None\n"  # as Python marks what cannot be imported
        "from pathlib import Path; from agent.notifiers.apprise import Apprise\n"
        "try: Apprise(urls_file=Path('x'))\n"
        "except ValueError as error: print(error)"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert ran.stdout == "apprise is not installed; pip install 'containment-agent[apprise]'\n"


def test_the_package_is_not_loaded_before_it_is_needed() -> None:
    script = "import sys, agent.notifiers.apprise, agent.notifiers.slack; print({'apprise', 'slack_sdk'} & sys.modules.keys())"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert ran.stdout == "set()\n"
