"""The Debian package on a real systemd: installed, attacked, killed, hung, reloaded, stopped, rebooted, upgraded, purged.

One box for all of it, in this order, as a host lives through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import ATTACKER, IN_A_CONTAINER
from tests.needs import need
from tests.package.host import AGENT, DOOR, DROPINS, KNOCK, OPEN, SHOP, SHOP_SOCKET, Host, next_version
from tests.running import wait_for
from tests.systemd_box import Box

SHORT_WATCHDOG = "[Service]\nWatchdogSec=2s\n"
SLOW_NFT = '#!/bin/sh\nsleep 1\nexec /usr/sbin/nft.real "$@"\n'
SHIPPED = "/usr/share/containment-agent"
POLICIES = "/etc/containment-agent/policies"
CONFIG = "/etc/containment-agent/agent.yaml"
UNITS = "/usr/lib/systemd/system/containment-"
NOT_OURS = ("/root/", "/var/lib/dpkg/", "/var/lib/systemd/", "/var/cache/", "/var/log/dpkg.log", "/var/log/journal/")
"""What dpkg, systemd and this test write."""


@pytest.fixture(scope="module")
def host(make_box: type[Box], deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    need("sshd", "openssh-server")
    need("/usr/lib/polkit-1/polkitd", "polkitd")
    units = {"shop.service": SHOP, "shop.socket": SHOP_SOCKET, "door.service": DOOR}
    placed: dict[str, str | Path] = {f"/etc/systemd/system/{name}": text for name, text in units.items()}
    placed |= {"/root/agent.deb": deb, "/root/next.deb": next_version(deb, tmp_path_factory.mktemp("next"))}
    placed |= {"/root/knock.py": KNOCK, "/root/door.py": OPEN, "/root/slow-nft": SLOW_NFT}
    box = Host({**placed, f"{DROPINS}/nspawn.conf": IN_A_CONTAINER})
    try:
        box.boot()
        box.run("systemctl", "enable", "shop.service", "shop.socket", "door.service")
        box.run("systemctl", "start", "ssh.service", "door.service")
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


def test_this_systemd_finds_no_mistake_in_its_units_and_an_exposure_of_2_at_most(host: Host) -> None:
    host.run("mv", DROPINS, "/root/aside")  # what only a container needs

    host.sh(f"systemd-analyze verify {UNITS}*.service {UNITS}*.timer")
    for name in ("agent", "restore", "expire", "report"):
        host.run("systemd-analyze", "security", "--offline=true", "--threshold=20", f"{UNITS}{name}.service")

    host.run("mv", "/root/aside", DROPINS)


def test_the_manual_and_completion_come_with_it(host: Host) -> None:
    pages = "/usr/share/man/man1/contain.1.gz /usr/share/man/man5/agent.yaml.5.gz /usr/share/man/man8/containment-agent.8.gz"

    assert "contain" in host.sh(f"gzip -cd {pages} | head -n 5")
    completed = host.sh("COMP_WORDS='contain evi' COMP_CWORD=1 _CONTAIN_COMPLETE=bash_complete contain")
    assert completed.strip() == "plain,evidence"
    assert "_CONTAIN_COMPLETE=bash_complete" in host.run("cat", "/usr/share/bash-completion/completions/contain")


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
    host.contain("policy", "mode", "ssh-brute-force", "enforce")
    assert host.reaches()

    host.guess()

    wait_for(lambda: "203.0.113.7" in host.blocked(), 10)
    assert not host.reaches()


def test_killed_it_is_back_and_what_is_blocked_stays_blocked(host: Host) -> None:
    before = host.main()

    host.run("kill", "-9", before)

    assert not host.reaches()
    host.comes_back(before)
    assert [one["stage"] for one in json.loads(host.contain("mitigations", "--json"))["items"]] == ["in_force"]


def test_hung_it_is_ended_and_the_journal_names_the_function_it_hung_in(host: Host) -> None:
    host.sh(f"mkdir -p /run/systemd/system/{AGENT}.d; printf '{SHORT_WATCHDOG}' >/run/systemd/system/{AGENT}.d/short.conf")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", AGENT)
    before = host.main()
    host.sh(
        f"cp -a {CONFIG} {CONFIG}.good; mkfifo -m 640 {CONFIG}.fifo; chgrp containment {CONFIG}.fifo; mv {CONFIG}.fifo {CONFIG}"
    )

    host.run("systemctl", "reload", "--no-block", AGENT)  # opening a pipe that nobody writes to never returns
    wait_for(lambda: "partner" in host.run("cat", f"/proc/{before}/wchan"), 10)
    host.run("mv", f"{CONFIG}.good", CONFIG)

    host.comes_back(before)
    said = host.log().partition("Watchdog timeout")[2].partition("Fatal Python error: Aborted")[2]
    hung = said.partition("most recent call first)")[2]
    assert 'agent/wiring.py", line' in said
    assert " in reload" in said
    assert " in _turn" in said, hung


def test_a_reload_returns_when_the_new_policies_are_live(host: Host) -> None:
    host.run("sed", "-i", "s/^title: .*/title: Told anew/", f"{POLICIES}/ssh_brute_force.yaml")

    host.run("systemctl", "reload", AGENT)

    assert "Told anew" in host.contain("policy", "list", "--json")


def test_a_stop_lets_an_act_end_and_writes_down_how(host: Host) -> None:
    host.run("sed", "-i", 's/^never_touch: .*/never_touch: ["203.0.113.9"]/', CONFIG)
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


def test_an_upgrade_to_other_code_lets_nobody_through_for_a_moment(host: Host) -> None:
    before = host.main()
    runs_from = host.run("readlink", "-f", "/usr/lib/containment-agent/current").strip()
    every_file = f"find {runs_from} -printf '%P %i %s %T@ %l\\n' | sort | sha256sum"
    shipped = host.sh(every_file)
    host.run("rm", f"{POLICIES}/syn_flood.yaml")  # an operator's own doing, as ssh_brute_force.yaml is since the reload
    host.sh("ip netns exec attacker /usr/bin/python3 /root/knock.py 90 >/root/knocked 2>&1 &")

    host.run("dpkg", "--unpack", "/root/next.deb", within=90)
    assert host.main() == before
    assert host.sh(every_file) == shipped  # so that it may import in an emergency what it has not needed so far
    host.contain("block", "203.0.113.99", "--for", "10m", "--why", "between unpacking and the restart")
    host.run("dpkg", "--configure", "containment-agent", within=90)

    host.run("touch", "/root/enough")
    begun, answered = json.loads(wait_for(lambda: host.run("cat", "/root/knocked"), 5))
    host.run("rm", "/root/enough")
    assert begun > 100
    assert answered == 0
    assert host.main() != before
    assert host.status()["version"] == "0.2.0"
    assert "203.0.113.99" in host.blocked()
    assert not host.sh(f"ls -d {runs_from} 2>/dev/null || true")
    assert host.sh("ls -d /usr/lib/containment-agent/*.??????").count("0.2.0.") == 1


def test_an_upgrade_keeps_what_operators_made_of_policies_and_renews_the_others(host: Host) -> None:
    titles = host.sh(f"cd {POLICIES}; grep -H ^title: ssh_brute_force.yaml disk_full.yaml disk_fuller.yaml")

    assert titles.splitlines() == [
        "ssh_brute_force.yaml:title: Told anew",
        "disk_full.yaml:title: Of the next version",
        "disk_fuller.yaml:title: Of the next version",
    ]
    assert "syn_flood.yaml" not in host.run("ls", POLICIES)


def test_with_the_polkit_rule_it_restarts_the_services_named_there_and_no_others(host: Host) -> None:
    shipped = host.run("cat", f"{SHIPPED}/polkit/50-containment.rules")
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


def test_each_drop_in_gives_what_it_says_and_all_of_them_go_together(host: Host) -> None:
    chosen = "service-control.conf credentials.conf extra-logs.conf evidence.conf postgres-peer.conf docker.conf"
    secret = "/etc/containment-agent/credentials/vault-secret-id"
    host.sh("getent group docker || groupadd docker")
    host.sh(f"cd {SHIPPED}/dropins; install -m 644 {chosen} {DROPINS}")
    host.sh(f"umask 077; printf not-for-everybody >{secret}")
    host.run("systemctl", "daemon-reload")

    host.run("systemctl", "restart", AGENT)

    assert "postgresql.service" in host.unit(AGENT, "After")
    assert "polkit.service" in host.unit(AGENT, "Wants")
    status = host.run("cat", f"/proc/{host.main()}/status")
    assert "CapEff:\t0000000000081004" in status  # NET_ADMIN, and DAC_READ_SEARCH, SYS_PTRACE
    docker = host.run("getent", "group", "docker").split(":")[2]
    assert docker in status.partition("Groups:")[2].partition("\n")[0].split()
    given = f"/run/credentials/{AGENT}/vault-secret-id"
    assert host.run("runuser", "-u", "containment", "--", "cat", given) == "not-for-everybody"
    host.sh(f"cd {DROPINS}; rm {chosen} {secret}")


def test_with_root_conf_it_stops_services_and_is_not_removed_while_one_is_stopped(host: Host) -> None:
    host.contain("undo", "all", "--yes", "--why", "test")
    host.run("install", "-m", "644", f"{SHIPPED}/dropins/root.conf", DROPINS)
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

    assert "containment" not in host.run("nft", "list", "tables")
    assert "containment" not in host.run("systemctl", "list-units", "--all", "--no-legend", "containment*")
    assert "containment" not in host.run("getent", "passwd") + host.run("getent", "group")
    assert [one for one in sorted(host.written()) if "contain" in one and not one.startswith(NOT_OURS)] == []
    assert host.reaches()
