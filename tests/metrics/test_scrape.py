"""What a scrape says is what `contain status` says; no label is a stranger's choice; the text is as Prometheus wants it."""

from __future__ import annotations

import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from agent.metrics.families import FAMILIES
from tests.cli.command import contain
from tests.metrics.scraped import Numbers, Scraped, ask
from tests.needs import need
from tests.running import wait_for


def blocked(scraped: Scraped, ip: str) -> bool:
    return any(one["target"] == ip for one in scraped.agent.in_force())


def test_numbers_are_those_of_contain_status(scraped: Scraped) -> None:
    scraped.guess("203.0.113.5")
    scraped.guess("198.51.100.7")
    scraped.guess("203.0.113.6", 3, "nobody-has-this")
    wait_for(lambda: blocked(scraped, "203.0.113.5"))
    scraped.agent.contain("report", "the shop is down", "--severity", "P0")
    wait_for(lambda: scraped.agent.ask("notify")["channels"][0]["unsent"])

    numbers, status = scraped.now(), scraped.status()

    held = status["mitigations"]
    assert numbers("mitigations_in_force", action="block_ip") == held["total"] - held["would"] - held["unsettled"] > 0
    assert numbers("mitigations_would") == held["would"] > 0
    assert numbers.sum("incidents_open") == status["incidents"]["leads"]
    assert numbers.sum("incidents_unacknowledged") == status["incidents"]["leads"]
    assert numbers("policies", mode="dry_run") == status["modes"]["dry_run"] == 1
    assert numbers("channel_waiting", channel="ops") == status["notify"]["channels"][0]["unsent"] > 0
    assert numbers("list_entries", list="threats") == 2
    assert numbers("checks", state="bad") == 1
    assert numbers("refusals_total", reason="lifeline") == 1
    assert numbers("actions_total", action="block_ip", outcome="in_force") >= 1
    assert numbers("reaction_seconds_count", stage="verified") >= 1
    assert numbers("lines_total", sensor="auth") >= 13
    assert numbers("journal_records") >= status["records"] > 0
    assert time.time() < numbers("next_expiry_timestamp_seconds") < time.time() + 3600


def test_what_is_in_force_is_read_back_from_the_kernel_and_not_remembered(scraped: Scraped) -> None:
    scraped.guess("203.0.113.15")
    wait_for(lambda: blocked(scraped, "203.0.113.15"))
    before = scraped.now()("drift_found_total")

    subprocess.run(["nft", "delete", "table", "inet", "containment"], check=True, timeout=10)

    healed = wait_for(lambda: (now := scraped.now())("drift_found_total") > before and now)
    wait_for(lambda: scraped.now()("drift_healed_total") >= healed("drift_found_total"))
    assert blocked(scraped, "203.0.113.15")
    assert scraped.now()("mitigation_confirmed_age_seconds") < 5


def test_no_label_holds_an_address_or_a_name_out_of_a_log(scraped: Scraped) -> None:
    scraped.guess("203.0.113.66", 5, "mallory-was-here")
    wait_for(lambda: blocked(scraped, "203.0.113.66"))

    values = [value for labels in scraped.now().labels for value in labels.values()]

    assert not [one for one in values if "203.0.113" in one or "mallory" in one or "/" in one]


def test_every_number_is_named_once_and_the_table_is_all_there_is(scraped: Scraped) -> None:
    told = scraped.agent.ask("metrics")["families"]

    assert set(told) == {one.name for one in FAMILIES}
    assert len({one.name for one in FAMILIES}) == len(FAMILIES)
    for one in FAMILIES:
        assert all(len(row[0]) == len(one.labels) for row in told[one.name]), one.name


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"])
def test_it_is_told_in_every_format_that_prometheus_asks_for(scraped: Scraped, accept: str) -> None:
    page = ask(scraped.port, "/metrics", Accept=accept)

    assert page.status == 200
    assert accept.partition(";")[0] in page.headers["content-type"]
    assert "\ncontainment_up 1" in page.text
    assert page.text.endswith("# EOF\n") is ("openmetrics" in accept)


def test_promtool_finds_nothing_wrong_with_names_and_helps(scraped: Scraped) -> None:
    promtool = need("promtool", "prometheus")

    page = ask(scraped.port, "/metrics")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page.text, text=True, capture_output=True, timeout=20, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_collector_comes_by_the_unix_socket(scraped: Scraped) -> None:
    path = scraped.agent.place / "metrics.sock"

    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(20)
        there.connect(str(path))
        there.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: there.recv(1 << 16), b""))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\ncontainment_up 1" in answer
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_a_reload_is_seen_with_its_mistakes_and_a_new_hash(scraped: Scraped) -> None:
    before = scraped.now()
    file = scraped.agent.place / "policies" / "test.yaml"
    right = file.read_text()

    file.write_text(right + "\nthen: [broken\n")
    scraped.agent.contain("reload")
    broken = scraped.now()
    file.write_text(right.replace(">= 5 in 2m", ">= 4 in 2m"))
    scraped.agent.contain("reload")
    mended = scraped.now()

    assert broken("config_last_reload_successful") == 0
    assert broken("config_hash") == before("config_hash")
    assert mended("config_last_reload_successful") == 1
    assert mended("config_hash") != before("config_hash")
    assert mended("config_loaded_timestamp_seconds") > before("config_loaded_timestamp_seconds")


def test_pauses_and_acknowledgements_show_at_once(scraped: Scraped) -> None:
    scraped.guess("203.0.113.25")
    wait_for(lambda: blocked(scraped, "203.0.113.25"))
    waiting = scraped.now().sum("incidents_unacknowledged")

    incident = next(one["id"] for one in scraped.agent.ask("incidents")["items"] if not one["lead"])
    scraped.agent.contain("ack", incident)
    scraped.agent.contain("pause", "--for", "1m", "--why", "deploy")
    paused = scraped.now()
    scraped.agent.contain("resume")

    assert paused.sum("incidents_unacknowledged") == waiting - 1
    assert (paused("paused"), scraped.now()("paused")) == (1, 0)


# Without a listener ---------------------------------------------------------------------------------------------------------


def test_a_file_for_node_exporter_is_whole_and_says_when_no_agent_answers(scraped: Scraped, tmp_path: Path) -> None:
    file = tmp_path / "containment.prom"

    done = scraped.agent.contain("metrics", "--output", str(file))
    alive = Numbers(file.read_text())
    dead = contain("metrics", "--output", file, "--socket", tmp_path / "nobody.sock")

    assert (done.returncode, done.stdout) == (0, "")
    assert alive("up") == 1
    assert "containment_mitigations_in_force" in alive.names
    assert dead.code == 5
    assert Numbers(file.read_text()).names == {"containment_up"}
    assert Numbers(file.read_text())("up") == 0
    assert [one.name for one in tmp_path.iterdir()] == ["containment.prom"]


def test_a_file_that_cannot_be_written_is_told_with_its_mend(scraped: Scraped, tmp_path: Path) -> None:
    done = scraped.agent.contain("metrics", "--output", str(tmp_path / "gone" / "x.prom"))

    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
