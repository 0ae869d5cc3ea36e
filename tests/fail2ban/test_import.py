"""`contain policy import-fail2ban` on Debian's own jail.conf, with some jails switched on."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from agent.fail2ban.jails import jails, seconds
from tests.cli.command import contain
from tests.fail2ban.asking import need_fail2ban

LOCAL = """[DEFAULT]
ignoreip = 127.0.0.1/8 ::1 192.0.2.0/24{more}
bantime.increment = true
bantime.maxtime = 5w
[sshd]
enabled = true
maxretry = 3
logpath = {place}/auth.log
[dropbear]
enabled = true
logpath = {place}/auth.log
[postfix]
enabled = true
mode = aggressive
backend = systemd
[recidive]
enabled = true
bantime = -1
logpath = {place}/no-such.log
[monit]
enabled = true
bantime.increment = false
logpath = {place}/*.log
"""
LOST = """[apache-fakegooglebot]
enabled = true
action = %(action_mwl)s
[nothing]
enabled = true
filter = no-such-filter
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    need_fail2ban()
    shutil.copytree("/etc/fail2ban", tmp_path / "etc")
    (tmp_path / "auth.log").write_text("")
    (tmp_path / "etc/jail.local").write_text(LOCAL.format(place=tmp_path, more=""))
    return tmp_path


def test_the_policies_are_written_and_pass_check_test_and_prove(place: Path) -> None:
    said = contain("policy", "import-fail2ban", place / "etc/jail.local", "--out", place / "out")

    assert (said.code, said.err.count("not carried over")) == (0, 0), said.err
    assert sorted(one.name for one in (place / "out").iterdir()) == [
        "fail2ban-dropbear.yaml",
        "fail2ban-monit.yaml",
        "fail2ban-postfix.yaml",
        "fail2ban-recidive.yaml",
        "fail2ban-sshd.yaml",
        "sensors.txt",
    ]
    for command in ("check", "test", "prove"):
        checked = contain("policy", command, place / "out")
        assert checked.code == 0, checked.out + checked.err
    sshd, recidive = ((place / "out" / f"fail2ban-{name}.yaml").read_text() for name in ("sshd", "recidive"))
    assert '  count: ">= 3 in 10m"\n' in sshd
    assert "  - block_ip: {ip: $src.ip, ttl: 10m x2 up to 35d, ports: [22]}\n" in sshd
    assert '  src.ip: {"cidr": ["127.0.0.0/8", "::1", "192.0.2.0/24"]}\n' in sshd
    assert "ttl: forever" in recidive
    assert contain("policy", "import-fail2ban", place / "etc", "--out", place / "out").code == 2  # nothing is overwritten


def test_the_sensors_are_one_for_each_log_and_agent_yaml_takes_them(place: Path) -> None:
    contain("policy", "import-fail2ban", place / "etc/jail.local", "--out", place / "out")
    sensors = (place / "out/sensors.txt").read_text()
    (place / "agent.yaml").write_text(f"version: 1\nstate: {place}/state\npolicies: [out]\n{sensors}")

    checked = contain("policy", "check", env={"CONTAIN_CONFIG": str(place / "agent.yaml")})

    assert checked.code == 0, checked.out + checked.err
    assert "brings: fail2ban-recidive (fail2ban.failure of the filter recidive[mode=normal])\n" in checked.err  # no log
    assert sensors.count(f'path: "{place}/auth.log"') == 1
    assert '["sshd[mode=normal]", "dropbear[mode=normal]", "monit[mode=normal]"]' in sensors
    assert f'# recidive: {{logfile: {{path: "{place}/no-such.log", filters: ["recidive[mode=normal]"]' in sensors


def test_what_cannot_be_carried_over_is_said_beside_the_policy_and_on_stderr(place: Path) -> None:
    (place / "etc/jail.local").write_text(LOCAL.format(place=place, more=" office.example.com") + LOST)

    said = contain("policy", "import-fail2ban", place / "etc/jail.local")

    assert said.code == 6
    for lost in ("the action sendmail-whois-lines", "ignorecommand = ", "ignoreip office.example.com: a name is never looked up"):
        assert f"apache-fakegooglebot: not carried over: {lost}" in said.err
        assert f"# Not carried over: {lost}" in said.out
    assert "nothing: cannot be carried over: there is no filter no-such-filter" in said.err
    assert said.err.count("usedns = warn") == 1
    (place / "all.yaml").write_text(said.out)
    assert contain("policy", "test", place / "all.yaml").code == 0


def test_every_jail_of_the_package_can_be_carried_over(place: Path) -> None:
    names = [line[1:-1] for line in (place / "etc/jail.conf").read_text().splitlines() if line.startswith("[")]
    enabled = [name for name in names if name not in ("DEFAULT", "INCLUDES")]
    more = {"pass2allow-ftp": "knocking_url = x", "blocklist_de": ""}
    (place / "etc/jail.local").write_text("".join(f"[{name}]\nenabled = true\n{more.get(name, '')}\n" for name in enabled))

    found = jails(place / "etc")

    assert len(found.each) + len(found.skipped) == len(enabled)
    assert found.skipped == {}


def test_fail2bans_times_are_read_and_what_is_none_is_refused() -> None:
    assert [seconds(text) for text in ("600", "10m", "1h 30min", "1d12h", "1w")] == [
        timedelta(minutes=10),
        timedelta(minutes=10),
        timedelta(minutes=90),
        timedelta(hours=36),
        timedelta(days=7),
    ]
    for text in ("", "ten minutes", "__import__('os')", "5 parsecs", "0"):
        with pytest.raises(ValueError, match="is no time"):
            seconds(text)
