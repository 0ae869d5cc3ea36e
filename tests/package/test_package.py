"""The Debian package on a real systemd: installed, attacked, killed, hung, reloaded, stopped, rebooted, upgraded, purged.

One box for all of it, in this order, as a host lives through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.debian import ATTACKER, IN_A_CONTAINER
from tests.needs import need
from tests.running import wait_for
from tests.systemd_box import Box

AGENT = "containment-agent.service"
SHOP = """\
[Unit]
Description=Something that listens

[Service]
ExecStart=/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""
SHOP_SOCKET = "[Socket]\nListenStream=8080\n\n[Install]\nWantedBy=sockets.target\n"
KNOCK = """\
import json, os, select, socket, sys, time
# Opens a connection every 5 ms until the file is there, and says how many were begun and how many were answered.
opened, begun, answered, until = {}, 0, 0, time.monotonic() + float(sys.argv[1])
poll = select.poll()
while time.monotonic() < until and not os.path.exists("/root/enough"):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("203.0.113.1", 22))
    poll.register(one, select.POLLOUT)
    opened[one.fileno()], begun = one, begun + 1
    for number, _ in poll.poll(5):
        poll.unregister(number)
        opened.pop(number).close()
        answered += 1
    if len(opened) > 400:
        poll.unregister(number := next(iter(opened)))
        opened.pop(number).close()
print(json.dumps([begun, answered]))
"""
SHORT_WATCHDOG = "[Service]\nWatchdogSec=2s\n"
SLOW_NFT = '#!/bin/sh\nsleep 1\nexec /usr/sbin/nft.real "$@"\n'


class Host(Box):
    """A box with the package in it, and an attacker beside it."""

    def contain(self, *words: str) -> str:
        return self.run("contain", *words)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.contain("status", "--json"))
        return answer

    def attacker(self, *command: str, within: float = 30) -> str:
        return self.run("ip", "netns", "exec", "attacker", *command, check=False, within=within)

    def reaches(self) -> bool:
        """Whether any of some hundred connections of the attacker is answered."""
        _, answered = json.loads(self.attacker("/usr/bin/python3", "/root/knock.py", "0.6"))
        return bool(answered)

    def blocked(self) -> str:
        """The single addresses that the kernel drops; nothing before the first one, when there is no table."""
        return self.run("nft", "list", "set", "inet", "containment", "hosts4", check=False)

    def log(self) -> str:
        return self.run("journalctl", "--unit", AGENT, "--output=cat", "--no-pager")

    def main(self) -> str:
        """The agent's process, as the box numbers it."""
        return self.unit(AGENT, "MainPID")

    def comes_back(self, before: str) -> None:
        """Wait until the agent is another process, and ready."""
        wait_for(lambda: self.main() not in ("0", before) and self.unit(AGENT, "ActiveState") == "active", 30)


@pytest.fixture(scope="module")
def host(make_box: type[Box], deb: Path) -> Iterator[Host]:
    need("sshd", "openssh-server")
    need("/usr/lib/polkit-1/polkitd", "polkitd")
    units = {"shop.service": SHOP, "shop.socket": SHOP_SOCKET, "containment-.service.d/nspawn.conf": IN_A_CONTAINER}
    placed: dict[str, str | Path] = {f"/etc/systemd/system/{name}": text for name, text in units.items()}
    box = Host({**placed, "/root/agent.deb": deb, "/root/knock.py": KNOCK, "/root/slow-nft": SLOW_NFT})
    try:
        box.boot()
        box.run("systemctl", "enable", "shop.service", "shop.socket")
        box.run("sh", "-ec", ATTACKER)
        box.run("chmod", "755", "/root/slow-nft")
        yield box
    finally:
        box.close()


def test_installed_it_watches_in_dry_run_as_a_user_with_one_right(host: Host) -> None:
    host.run("dpkg", "--install", "/root/agent.deb", within=90)

    assert host.unit(AGENT, "ActiveState") == "active"
    assert "mode: dry_run" in host.run("cat", "/etc/containment-agent/agent.yaml")
    status = host.run("cat", f"/proc/{host.main()}/status")
    assert "CapEff:\t0000000000001000" in status
    assert "\nUid:\t0\t" not in status
    assert host.run("stat", "--format=%a %U %G", "/run/containment-agent/agent.sock").strip() == "660 containment containment"
    assert host.run("stat", "--format=%a %U %G", "/etc/containment-agent/agent.yaml").strip() == "640 root containment"


def test_the_group_may_give_orders_and_nobody_else(host: Host) -> None:
    host.run("useradd", "--groups", "containment", "alice")

    assert "dry" in host.run("runuser", "-u", "alice", "--", "contain", "status")
    with pytest.raises(RuntimeError, match="exit 5"):
        host.run("runuser", "-u", "nobody", "--", "contain", "status")


def test_doctor_says_what_the_agent_may_not_do(host: Host) -> None:
    said = host.run("contain", "doctor", check=False)

    assert "the agent does less well: without CAP_SYS_PTRACE" in said
    assert "a timer of systemd's if the agent is dead then" in said


def test_a_guesser_is_blocked(host: Host) -> None:
    host.run("systemctl", "start", "ssh.service")
    host.contain("policy", "mode", "ssh-brute-force", "enforce")
    assert host.reaches()

    guess = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=2", "oracle@203.0.113.1")
    for _ in range(9):  # blocked in the middle of a handshake, ssh would wait for minutes
        host.attacker("timeout", "5", *guess)

    wait_for(lambda: "203.0.113.7" in host.blocked(), 10)
    assert not host.reaches()


def test_killed_it_is_back_and_what_is_blocked_stays_blocked(host: Host) -> None:
    before = host.main()

    host.run("kill", "-9", before)

    assert not host.reaches()
    host.comes_back(before)
    assert [one["stage"] for one in json.loads(host.contain("mitigations", "--json"))["items"]] == ["in_force"]


def test_hung_it_is_ended_and_its_stack_is_in_the_journal(host: Host) -> None:
    host.run("mkdir", "-p", "/run/systemd/system/containment-agent.service.d")
    host.run("sh", "-c", f"printf '{SHORT_WATCHDOG}' >/run/systemd/system/containment-agent.service.d/short.conf")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", AGENT)
    before = host.main()

    host.run("kill", "-STOP", before)

    host.comes_back(before)
    # Awake again its threads run on while they are written down, so that not every one is always there whole.
    wait_for(lambda: 'site-packages/agent/workers.py", line' in host.log(), 10)
    log = host.log()
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log


def test_a_reload_returns_when_the_new_policies_are_live(host: Host) -> None:
    host.run("sed", "-i", "s/^title: .*/title: Told anew/", "/etc/containment-agent/policies/ssh_brute_force.yaml")

    host.run("systemctl", "reload", AGENT)

    assert "Told anew" in host.contain("policy", "list", "--json")


def test_a_stop_lets_an_act_end_and_writes_down_how(host: Host) -> None:
    host.run("sed", "-i", 's/^never_touch: .*/never_touch: ["203.0.113.9"]/', "/etc/containment-agent/agent.yaml")
    host.run("systemctl", "reload", AGENT)
    host.run("mv", "/usr/sbin/nft", "/usr/sbin/nft.real")
    host.run("mv", "/root/slow-nft", "/usr/sbin/nft")
    host.run("sh", "-c", "contain do isolate_host ttl=10m --yes --why test >/root/said 2>&1 &")
    wait_for(lambda: "applying" in host.contain("mitigations", "--json"), 20)

    host.run("systemctl", "stop", AGENT, within=60)

    assert host.unit(AGENT, "Result") == "success"
    last = [one["kind"] for one in json.loads(host.contain("evidence", "show", "--json"))["items"]]
    assert last[-1] == "stopped"
    assert "in_force" in last[last.index("intent") :]
    host.run("mv", "/usr/sbin/nft.real", "/usr/sbin/nft")


def test_at_boot_blocks_are_back_before_anything_listens(host: Host) -> None:
    host.stop()

    host.boot()

    assert "203.0.113.7" in host.blocked()
    assert "table inet containment_host" in host.run("nft", "list", "tables")
    restored = int(host.unit("containment-restore.service", "ActiveEnterTimestampMonotonic"))
    for unit in ("shop.socket", "shop.service", AGENT):
        assert 0 < restored <= int(host.unit(unit, "ActiveEnterTimestampMonotonic")), unit
    host.run("sh", "-ec", ATTACKER)
    host.contain("undo", "host", "--why", "tested")
    assert not host.reaches()


def test_an_upgrade_lets_nobody_through_for_a_moment(host: Host) -> None:
    before = host.main()
    host.run("sh", "-c", "ip netns exec attacker /usr/bin/python3 /root/knock.py 90 >/root/knocked 2>&1 &")

    host.run("dpkg", "--install", "/root/agent.deb", within=90)

    host.run("touch", "/root/enough")
    begun, answered = json.loads(wait_for(lambda: host.run("cat", "/root/knocked"), 5))
    assert begun > 100
    assert answered == 0
    assert host.main() != before
    assert "Told anew" in host.run("cat", "/etc/containment-agent/policies/ssh_brute_force.yaml")


def test_with_the_polkit_rule_it_restarts_the_services_named_there_and_no_others(host: Host) -> None:
    shipped = host.run("cat", "/usr/share/containment-agent/polkit/50-containment.rules")
    rule = shipped.replace('/* "nginx.service", "shop.service" */', '"shop.service"')
    host.run("sh", "-c", f"cat >/etc/polkit-1/rules.d/50-containment.rules <<'END'\n{rule}\nEND")
    host.run("systemctl", "start", "polkit.service")
    before = host.unit("shop.service", "InvocationID")

    host.contain("do", "restart_service", "unit=shop.service", "--yes", "--why", "test")

    assert host.unit("shop.service", "InvocationID") != before
    as_agent = ("runuser", "-u", "containment", "--", "systemctl", "--no-ask-password")
    for refused in (("restart", "ssh.service"), ("kill", "shop.service"), ("mask", "shop.service"), ("daemon-reload",)):
        with pytest.raises(RuntimeError, match=r"[Aa]ccess denied|authentication required"):
            host.run(*as_agent, *refused)


def test_with_root_conf_it_stops_services_and_is_not_removed_while_one_is_stopped(host: Host) -> None:
    host.contain("undo", "all", "--yes", "--why", "test")
    drop_in = "/usr/share/containment-agent/dropins/root.conf"
    host.run("install", "-m", "644", drop_in, "/etc/systemd/system/containment-.service.d/root.conf")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", AGENT)

    host.contain("do", "stop_service", "unit=shop.service", "ttl=1h", "--yes", "--why", "test")

    assert host.unit("shop.service", "ActiveState") == "inactive"
    with pytest.raises(RuntimeError, match="still in force, and nobody could undo it"):
        host.run("dpkg", "--remove", "containment-agent", within=60)
    assert host.unit(AGENT, "ActiveState") == "active"
    host.contain("undo", "all", "--yes", "--why", "test")
    assert host.unit("shop.service", "ActiveState") == "active"


def test_purged_it_leaves_nothing(host: Host) -> None:
    host.run("dpkg", "--purge", "containment-agent", within=60)

    host.run("rm", "/root/enough")
    assert "containment" not in host.run("nft", "list", "tables")
    assert "containment" not in host.run("systemctl", "list-units", "--all", "--no-legend", "containment*")
    assert "containment" not in host.run("getent", "passwd") + host.run("getent", "group")
    where = ("/etc", "/usr/lib", "/usr/bin", "/usr/share", "/var/lib", "/run")
    left = host.run("find", *where, "-xdev", "-name", "*contain*", "-path", "*containment*", check=False)
    assert left.strip() == ""
    assert host.reaches()
