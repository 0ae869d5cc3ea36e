"""The example alerts and the dashboard name what is there, and a real Prometheus raises them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from agent.metrics.families import FAMILIES
from tests.metrics.scraped import Scraped
from tests.metrics.test_health import small
from tests.needs import need
from tests.pages.surfing import free_port
from tests.running import wait_for

HERE = Path(__file__).parents[2] / "docs" / "monitoring"
NAME = re.compile(r"\bcontainment_[a-z_]+\b")
BY_PROMETHEUS = {"up"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [one for one in json.loads((HERE / "dashboard.json").read_text())["panels"] if one["type"] != "row"]


def test_every_number_of_the_alerts_and_the_dashboard_is_in_a_scrape(scraped: Scraped) -> None:
    there = scraped.now().names
    there |= {f"{one.name}_total" if one.kind == "counter" else one.name for one in FAMILIES}  # also those without a row just now
    there |= {f"{one.name}_{end}" for one in FAMILIES if one.kind in ("histogram", "summary") for end in ("sum", "count")}

    named = {name for rule in rules() for name in NAME.findall(str(rule["expr"]))}
    named |= set(NAME.findall((HERE / "dashboard.json").read_text()))
    named |= set(NAME.findall((HERE / "alerts_test.yaml").read_text()))

    assert len(named) > 40
    assert named - there == set()


def test_every_word_that_an_alert_selects_by_is_one_that_is_told(scraped: Scraped) -> None:
    """`outcome="faild"` would never raise anything, and nobody would know."""
    wait_for(lambda: "canary_result" in str(scraped.now().names))  # half a second after the start
    told: dict[str, set[str]] = {}
    for labels in scraped.now().labels:
        for name, value in labels.items():
            told.setdefault(name, set()).add(value)

    for rule in rules():
        for name, _, value in re.findall(r'(\w+)(=~?)"([^"]+)"', str(rule["expr"])):
            if name != "job":
                assert set(value.split("|")) <= told[name], (rule["alert"], name)


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "runbook"}, rule["alert"]
        assert "$labels" in rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.search(r"contain \w+|systemctl|journalctl|dashboard|ls -l|top |iostat", rule["annotations"]["runbook"]), rule[
            "alert"
        ]


def test_every_command_that_an_alert_names_is_there() -> None:
    from tests.cli.test_commands import ALL

    text = " ".join(str(rule["annotations"]["runbook"]) for rule in rules())
    first = {path[0] for path in ALL}

    assert set(re.findall(r"\bcontain ([a-z]+)\b", text)) <= first


def test_every_alert_has_been_seen_to_fire_and_to_be_silent() -> None:
    promtool = need("promtool", "prometheus")
    tested = (HERE / "alerts_test.yaml").read_text()

    checked = subprocess.run(
        [promtool, "check", "rules", HERE / "alerts.yaml"], capture_output=True, text=True, timeout=20, check=False
    )
    done = subprocess.run(
        [promtool, "test", "rules", HERE / "alerts_test.yaml"], capture_output=True, text=True, timeout=30, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert [rule["alert"] for rule in rules() if f'alertname="{rule["alert"]}"' not in tested] == []


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    made = json.loads((HERE / "dashboard.json").read_text())

    assert [one["name"] for one in made["templating"]["list"]] == ["datasource", "instance"]
    assert len({one["id"] for one in made["panels"]}) == len(made["panels"])
    for one in panels():
        assert one["title"], one["id"]
        assert one["description"], one["title"]
        assert one["datasource"]["uid"] == "${datasource}"
        assert all('instance=~"$instance"' in target["expr"] for target in one["targets"]), one["title"]
        assert one["gridPos"]["x"] + one["gridPos"]["w"] <= 24


# A real Prometheus ----------------------------------------------------------------------------------------------------------

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: containment
    static_configs: [{{targets: [{targets}]}}]
"""


class Prometheus:
    """The server of Debian's package, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        found = self.get(f"query?query={query}")["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> dict[str, Any]:
        return {one["labels"]["alertname"]: one for one in self.get("alerts")["alerts"] if one["state"] == "firing"}


@contextmanager
def prometheus(place: Path, ports: Iterable[int]) -> Iterator[Prometheus]:
    program, mine = need("prometheus", "prometheus"), free_port()
    config = place / "prometheus.yml"
    config.write_text(CONFIG.format(rules=HERE / "alerts.yaml", targets=", ".join(f'"127.0.0.1:{one}"' for one in ports)))
    options = [f"--config.file={config}", f"--storage.tsdb.path={place}/data", f"--web.listen-address=127.0.0.1:{mine}"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        made = Prometheus(mine)
        wait_for(lambda: _ready(made))
        yield made
    finally:
        process.kill()
        process.wait(20)


def _ready(made: Prometheus) -> bool:
    try:
        return bool(made.get("targets")["activeTargets"])
    except OSError:
        return False


@pytest.mark.timeout(60)
def test_a_real_prometheus_scrapes_real_agents_and_raises_what_is_wrong_with_one(scraped: Scraped, tmp_path: Path) -> None:
    scraped.guess("203.0.113.45")
    with small(tmp_path / "agent") as (agent, port):
        agent.stop()
        (agent.place / "state" / "signing.key").chmod(0o644)  # others may read it
        agent.start()

        with prometheus(tmp_path, (scraped.port, port)) as server:
            firing = wait_for(server.firing)
            held = wait_for(lambda: server.value("sum(containment_mitigations_in_force)"))
            targets = server.get("targets")["activeTargets"]
            broken = {one["name"] for group in server.get("rules")["groups"] for one in group["rules"] if one["health"] == "err"}

    assert set(firing) == {"ContainmentEvidenceMishap"}
    assert firing["ContainmentEvidenceMishap"]["annotations"]["summary"].endswith(f"on 127.0.0.1:{port}")
    assert held >= 1
    assert {(one["health"], one["lastError"]) for one in targets} == {("up", "")}
    assert broken == set()
