"""`contain support-bundle`: everything that helps, nothing that is secret, also when the agent is dead."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agent.support.bundle import MOST_OF_ONE, Left, Part, gather, make
from agent.support.printed import printed
from agent.support.secrets import redactor
from tests.needs import need, need_root
from tests.running import CONTAIN, Running, sshd_lines, wait_for

IN_A_FILE: Final = "correct-horse-battery"
IN_THE_CONFIG: Final = "tr0ub4dor-and-3"
IN_A_POLICY: Final = "xyzzy-plugh-plover"
IN_A_LOG_LINE: Final = "hunter2hunter2"
IN_A_NOTE: Final = "hvs.CAESIJ3lkq9wdmQ0"
IN_A_HOOK: Final = "open-sesame-simsim"
IN_THE_ENVIRONMENT: Final = "swordfish-swordfish"
SECRETS: Final = (IN_A_FILE, IN_THE_CONFIG, IN_A_POLICY, IN_A_LOG_LINE, IN_A_NOTE, IN_A_HOOK, IN_THE_ENVIRONMENT)
POLICY = f"""\
# the old one had password={IN_A_POLICY} in it
policy: guessing
title: Somebody guesses
severity: P1
owner: test
when: {{event: auth.ssh.failure, by: src.ip, count: ">= 3 in 10m"}}
then:
  - block_ip: {{ip: $src.ip, ttl: 1h}}
"""
YAML = """\
mode: dry_run
sensors: {auth: {logfile: {path: PLACE/auth.log, parsers: [sshd], from_start: true}}}
systems: {postgres: {main: {host: PLACE, user: agent, password_file: PLACE/password}}}
checks: {backup: {exec: {command: [/bin/echo, --password, CONFIG]}, every: 1h}}
hooks: {roll: {run: [/bin/sh, PLACE/hook]}}
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that has met a secret wherever it can."""
    need_root()
    need("nft", "nftables")
    place = tmp_path_factory.mktemp("b")
    made = Running(place, YAML.replace("PLACE", str(place)).replace("CONFIG", IN_THE_CONFIG), POLICY)
    (place / "password").write_text(f"{IN_A_FILE}\n")
    (place / "password").chmod(0o600)
    (place / "hook").write_text(f"echo the token={IN_A_HOOK} is {IN_A_FILE}\nexit 1\n")
    (place / "auth.log").write_text("".join(sshd_lines("203.0.113.7", 4, user=f"x password={IN_A_LOG_LINE}")))
    with made:
        wait_for(lambda: made.ask("incidents")["items"])
        made.contain("note", "INC-1", f"it used {IN_A_NOTE} and the password {IN_A_FILE}")
        made.contain("do", "run_hook", "hook=roll", "--yes", "--why", f"token: {IN_A_FILE}")
        yield made


def bundle(agent: Running, *options: str) -> dict[str, str]:
    """Its files by name."""
    target = agent.place / "bundle.tar.gz"
    for left in agent.place.glob("bundle.tar.gz*"):
        left.unlink()
    env = {**os.environ, "CONTAIN_TOKEN": IN_THE_ENVIRONMENT, "SHOP_PASSWORD": IN_THE_ENVIRONMENT}
    command = [*CONTAIN, "support-bundle", "--output", str(target), "--config", str(agent.config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("nothing is sent") < done.stderr.index("doctor.json")
    assert target.stat().st_mode & 0o777 == 0o600
    return files_of(target.read_bytes())


def files_of(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name.removeprefix("containment-support/"): tar.extractfile(one).read().decode() for one in tar}  # type: ignore[union-attr]


def test_no_secret_is_anywhere_in_it_and_what_helps_is(agent: Running) -> None:
    files = bundle(agent)

    leaks = [(name, secret) for name, text in files.items() for secret in SECRETS if secret in text]
    assert leaks == []
    assert "INC-1" in files["agent/incidents.json"]
    assert "203.0.113.7" in files["records.jsonl"]
    assert {json.loads(line)["kind"] for line in files["records.jsonl"].splitlines()} >= {"started", "finding", "noted"}
    assert [name for name in files if name.startswith("policies/") and name.endswith("policies_test.yaml")] != []
    assert f"password_file: {agent.place}/password" in files["agent.yaml"]
    assert "containment_" in files["agent/metrics.prom"]
    assert json.loads(files["evidence.json"])["records"] > 3


def test_every_part_is_in_the_manifest_with_why_it_is_not_there(agent: Running) -> None:
    files = bundle(agent)

    rows = files["MANIFEST.txt"].partition("\n\n")[2].partition("\n\n")[2]
    named = {line.split()[0]: line for line in rows.splitlines()}
    assert set(files) - {"MANIFEST.txt"} <= set(named)
    assert all("left out: " in line for name, line in named.items() if name not in files)


def test_with_pseudonyms_nobody_is_named_and_the_same_is_the_same(agent: Running) -> None:
    files = bundle(agent, "--pseudonyms")

    known = json.loads((agent.place / "bundle.tar.gz.names").read_text())
    word = known["203.0.113.7"]
    assert [name for name, text in files.items() if "203.0.113.7" in text or "db1" in text] == []
    assert word in files["records.jsonl"]
    assert word in files["agent/incidents.json"]
    assert (agent.place / "bundle.tar.gz.names").stat().st_mode & 0o777 == 0o600


def test_an_old_file_is_never_replaced(agent: Running) -> None:
    target = agent.place / "old"
    target.write_text("mine")

    done = agent.contain("support-bundle", "--output", str(target))

    assert done.returncode == 1
    assert "File exists" in done.stderr
    assert target.read_text() == "mine"


def test_it_works_with_a_dead_agent_and_a_broken_file(tmp_path: Path) -> None:
    dead = Running(tmp_path, "mode: perhaps\n", POLICY)

    files = bundle(dead)

    assert "mode: perhaps" in files["agent.yaml"]
    assert "`perhaps` is not one of" in files["doctor.json"]
    assert "agent/status.json" not in files
    assert "left out: cannot reach the agent" in files["MANIFEST.txt"]
    assert "Python" in files["versions.txt"]


# Its parts ------------------------------------------------------------------------------------------------------------


def _part(name: str, value: object) -> Part:
    def take() -> object:
        if isinstance(value, Exception):
            raise value
        return value

    return Part(name, "a part", take)


def test_a_part_that_cannot_be_had_costs_itself_alone() -> None:
    parts = [_part("a", Left("it is gone")), _part("b", OSError(5, "a bad disk")), _part("c", "fine\n")]

    made = make(parts, gather(parts), redactor(), None)

    assert [(one.name, one.why) for one in made.rows] == [
        ("a", "left out: it is gone"),
        ("b", "left out: OSError: [Errno 5] a bad disk"),
        ("c", ""),
    ]
    assert files_of(made.data)["c"] == "fine\n"


def test_what_is_too_much_is_cut_at_a_line_and_said() -> None:
    parts = [_part("much", "0123456\n" * (MOST_OF_ONE // 4)), _part("one-line", "x" * (MOST_OF_ONE + 1))]

    made = make(parts, gather(parts), redactor(), None)

    files = files_of(made.data)
    assert (len(files["much"]), files["much"][-8:], files["one-line"]) == (MOST_OF_ONE, "0123456\n", "")
    assert [one.why.partition(":")[0] for one in made.rows] == ["cut", "cut"]


def test_a_key_over_many_lines_goes_whole() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 3000 + "-----END PRIVATE KEY-----"
    parts = [_part("log", f"before\n{key}\nafter\n")]

    made = make(parts, gather(parts), redactor(), None)

    assert files_of(made.data)["log"] == "before\n[redacted]\nafter\n"


def test_a_program_that_hangs_or_prints_for_ever_is_ended() -> None:
    hung = printed(["sh", "-c", "echo a; sleep 60"], seconds=0.3, most=1000)
    endless = printed(["yes"], seconds=10, most=1000)
    missing = printed(["no-such-program"], seconds=1, most=10)

    assert hung == ("a\n", "it did not end in time")
    assert (endless.text, endless.why) == ("y\n" * 500, "it printed more than 0 KiB")
    assert missing.why == "there is no program no-such-program here"
