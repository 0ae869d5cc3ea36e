"""Host: what this host must never cut off, and what can fill up."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent.action import CannotReach
from agent.systems import sock_diag
from agent.systems.host import Host, resolvers
from tests.needs import need, need_root
from tests.systemd_box import Box

PORT = 2222
HERE, THERE = "198.51.100.1", "198.51.100.2"
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)


@pytest.fixture(scope="module")
def neighbour() -> Iterator[int]:
    """A host beside this one, on a wire of its own; the pid of its only process."""
    need_root()
    need("ip", "iproute2")
    with subprocess.Popen(["unshare", "-n", "sleep", "300"]) as sleeper:
        try:
            here = Path("/proc/self/ns/net").readlink()
            while Path(f"/proc/{sleeper.pid}/ns/net").readlink() == here:
                time.sleep(0.005)
            ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(sleeper.pid))
            ip("addr", "add", f"{HERE}/24", "dev", "near")
            ip("addr", "add", f"{HERE6}/64", "dev", "near", "nodad")
            ip("link", "set", "near", "up")
            for words in (
                ["addr", "add", f"{THERE}/24", "dev", "far"],
                ["addr", "add", f"{THERE6}/64", "dev", "far", "nodad"],
                ["link", "set", "far", "up"],
            ):
                subprocess.run(["nsenter", "-t", str(sleeper.pid), "-n", "ip", *words], check=True, timeout=10)
            yield sleeper.pid
        finally:
            sleeper.kill()
            with suppress(subprocess.CalledProcessError):
                ip("link", "del", "near")


@pytest.fixture
def connected(neighbour: int) -> Iterator[None]:
    """The neighbour holds a connection to our ssh port over IPv4, and another over IPv6."""
    script = f"import socket,sys; s=[socket.create_connection((a,{PORT})) for a in ('{HERE}','{HERE6}')]; sys.stdin.read()"
    with (
        closing(socket.create_server(("", PORT), family=socket.AF_INET6, dualstack_ipv6=True)) as server,
        subprocess.Popen(["nsenter", "-t", str(neighbour), "-n", sys.executable, "-c", script], stdin=subprocess.PIPE) as client,
    ):
        server.settimeout(10)
        accepted = [server.accept()[0] for _ in range(2)]
        yield
        client.kill()
        for one in accepted:
            one.close()


@pytest.fixture(scope="module")
def logind(make_box: type[Box]) -> Iterator[Path]:
    """A real logind's files, with nobody logged in."""
    box = make_box({"/etc/systemd/system/sshd-session.service": "[Service]\nExecStart=sleep infinity\n"})
    try:
        box.boot().run("systemctl", "start", "systemd-logind.service", "sshd-session.service")
        yield Path(f"/proc/{box.pid}/root/run/systemd")
    finally:
        box.close()


def log_in(logind: Path, address: str) -> None:
    """Tell logind of a login, as pam_systemd does for sshd."""
    box = logind.parts[2]
    show = ["systemctl", "show", "-p", "MainPID", "--value", "sshd-session.service"]
    enter = ["nsenter", "-t", box, "-m", "-p", "-n", "-r", "--"]
    leader = subprocess.run([*enter, *show], check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    manager = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
    session = ["0", leader, "sshd", "tty", "user", "", "", "0", "", "", "true", "", address, "0"]
    call = ["busctl", "call", *manager, "CreateSession", "uusssssussbssa(sv)", *session]
    subprocess.run([*enter, *call], check=True, capture_output=True, timeout=10)


@pytest.fixture
def pam(tmp_path: Path) -> Path:
    (tmp_path / "sshd").write_text("session optional pam_systemd.so\n")
    return tmp_path


def whys(host: Host) -> dict[str, str]:
    return {str(line.network.network_address): line.why for line in host.lifelines([PORT])}


def test_its_own_addresses_are_lifelines(neighbour: int) -> None:
    found = whys(Host())

    assert found["127.0.0.1"] == found["::1"] == "an address of this host, on lo"
    assert found[HERE] == found[HERE6] == "an address of this host, on near"


def test_gateways_are_lifelines_also_the_link_local_ones(neighbour: int) -> None:
    ip("route", "add", "default", "via", THERE)
    ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "near")
    try:
        found = whys(Host())
    finally:
        ip("route", "del", "default")
        ip("-6", "route", "del", "default")

    assert found[THERE] == found["fe80::1"] == "a gateway of this host, on near"


def test_name_servers_are_lifelines() -> None:
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]

    found = whys(Host())

    assert servers
    assert all(found[server].startswith(("a name server of this host", "an address of this host")) for server in servers)


def test_name_servers_are_read_as_the_resolver_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver\t192.0.2.53\n nameserver dns.example\nnameserver\nnameserver fe80::1%eth0  # a remark\n")

    found = [str(one.network) for one in resolvers([str(file)])]

    assert found == ["192.0.2.53/32", "fe80::1/128"]


def test_where_nobody_knows_who_is_logged_in_every_ssh_peer_is_a_lifeline(connected: None, tmp_path: Path) -> None:
    found = whys(Host(logind=tmp_path))

    assert found[THERE] == found[THERE6] == "connected to ssh port 2222, and this host keeps no list of who is logged in"


def test_who_is_connected_and_logged_in_is_a_lifeline_and_a_password_guesser_is_not(
    connected: None, logind: Path, pam: Path
) -> None:
    host = Host(logind, pam)
    before = whys(host)

    log_in(logind, THERE)

    assert THERE not in before
    assert whys(host)[THERE] == "logged in over ssh, on port 2222"
    assert THERE6 not in whys(host)


def test_a_logind_that_sshd_does_not_tell_counts_for_nothing(connected: None, logind: Path, tmp_path: Path) -> None:
    assert THERE6 in whys(Host(logind, pam=tmp_path))


def test_other_ports_protect_nobody(connected: None) -> None:
    assert THERE not in {str(line.network.network_address) for line in Host().lifelines([22])}


def test_the_text_tables_say_the_same_as_the_kernel(connected: None) -> None:
    by_text = {sock_diag.plain(peer) for peer in sock_diag._listed(PORT)}

    assert by_text == sock_diag.peers(PORT) == {ipaddress.ip_address(THERE), ipaddress.ip_address(THERE6)}


def test_mounts_hold_the_root_and_nothing_that_lives_in_memory() -> None:
    found = {mount.path for mount in Host().mounts()}

    assert "/" in found
    assert not found & {"/proc", "/sys", "/dev", "/dev/shm", "/run"}


def test_a_file_system_counts_unless_it_is_itself_read_only(tmp_path: Path) -> None:
    """As inside a unit with ProtectSystem=strict, where every mount is read-only and the file systems are not."""
    need_root()
    need("mkfs.ext4", "e2fsprogs")
    script = (
        f"cd {tmp_path}; mkdir again strict image; truncate -s 8M disk; mkfs.ext4 -q disk; cp disk snap;"
        "mount --bind again again; mount -o loop disk strict; mount -o remount,ro,bind strict;"
        "mount -o loop,ro snap image; mount -o remount,ro,bind /;"
        f"cd {Path.cwd()}; {sys.executable} -c 'from agent.systems.host import *; print(*(one.path for one in Host().mounts()))'"
    )

    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True, timeout=20)

    assert "/" in done.stdout.split()
    assert [Path(one).name for one in done.stdout.split() if one.startswith(str(tmp_path))] == ["strict"]


def test_a_place_that_is_not_there_cannot_be_looked_at() -> None:
    with pytest.raises(CannotReach, match="cannot look at /nowhere: no such place"):
        Host().mounts("/nowhere")
