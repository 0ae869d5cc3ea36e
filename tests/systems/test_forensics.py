"""What is seen of a host before it is touched: real processes, sockets, rules and files, and looks that end in time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.action import CannotReach
from agent.evidence.leaf import write_plain
from agent.systems import traces
from agent.systems.bounded import Found, Looks, output
from agent.systems.forensics import Forensics, everything
from tests.needs import need, need_root
from tests.network import nft

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", server.getsockname()[1]))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def forensics() -> Forensics:
    return Forensics()


def see(forensics: Forensics, verb: str) -> dict[str, Any]:
    (answer,) = forensics.perform([getattr(forensics, verb)()])
    assert answer.error is None
    assert isinstance(answer.value, dict)
    return answer.value


@contextmanager
def running(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that lives until its stdin is closed, or it is ended here."""
    words = [str(one) for one in command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def row(seen: dict[str, Any], process: subprocess.Popen[str]) -> dict[str, Any]:
    (found,) = [one for one in seen["processes"] if one["pid"] == process.pid]
    assert isinstance(found, dict)
    return found


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_process_shows_with_what_it_runs_as_whom_and_since_when(forensics: Forensics) -> None:
    with running("cat", "-") as process:
        seen = row(see(forensics, "processes"), process)

    assert (seen["name"], seen["command"], seen["parent"]) == ("cat", ["cat", "-"], os.getpid())
    assert (seen["uid"], seen["exe"]) == (os.getuid(), str(Path(need("cat", "coreutils")).resolve()))
    assert abs(seen["started"] - time.time()) < 60
    assert seen["open_files"] == 3
    assert seen["sha256"] == sha256(Path(seen["exe"]).read_bytes()).hexdigest()


def test_an_executable_that_was_deleted_is_marked_and_its_hash_told_all_the_same(forensics: Forensics, tmp_path: Path) -> None:
    program = tmp_path / "miner"
    shutil.copy(need("cat", "coreutils"), program)
    kept = sha256(program.read_bytes()).hexdigest()
    with running(program, "-") as process:
        program.unlink()

        seen = row(see(forensics, "processes"), process)

    assert (seen["exe"], seen["deleted"], seen["sha256"]) == (str(program), True, kept)


def test_a_secret_in_a_word_of_its_own_and_a_name_that_lies_are_harmless(forensics: Forensics) -> None:
    words = ["--password", "hunter2", "--token", "-x", ") S 1 1 ", "caf\udce9"]
    script = "import sys; open('/proc/self/comm', 'w').write('a) R 1'); print(flush=True); sys.stdin.read()"
    with running(sys.executable, "-c", script, *words) as process:
        assert process.stdout
        process.stdout.readline()

        seen = row(see(forensics, "processes"), process)

    assert seen["command"][3:] == ["--password", "[left out]", "--token", "-x", ") S 1 1 ", r"caf\xe9"]
    assert (seen["name"], seen["parent"]) == ("a) R 1", os.getpid())


def test_a_command_line_without_end_is_cut(forensics: Forensics) -> None:
    with running("cat", "-", *["x" * 1000] * 100) as process:
        seen = row(see(forensics, "processes"), process)

    assert sum(map(len, seen["command"])) < 4096
    assert seen["command_cut"]


@pytest.mark.parametrize(
    ("cgroups", "belongs"),
    [
        ("0::/system.slice/nginx.service\n", {"cgroup": "/system.slice/nginx.service", "unit": "nginx.service"}),
        (
            "1:name=systemd:/user.slice/session-4.scope\n0::/\n",
            {"cgroup": "/user.slice/session-4.scope", "unit": "session-4.scope"},
        ),
        (
            f"0::/system.slice/docker-{'ab' * 32}.scope\n",
            {
                "cgroup": f"/system.slice/docker-{'ab' * 32}.scope",
                "unit": f"docker-{'ab' * 32}.scope",
                "container": "ab" * 32,
            },
        ),
        (f"4:memory:/docker/{'cd' * 32}\n0::/\n", {"cgroup": "/", "container": "cd" * 32}),
        ("", {"cgroup": "/"}),
    ],
    ids=["unit", "version 1", "container", "container, version 1", "none"],
)
def test_the_control_group_tells_unit_and_container(cgroups: str, belongs: dict[str, str]) -> None:
    from agent.systems.processes import belongs_to

    assert belongs_to(cgroups) == belongs


# Sockets --------------------------------------------------------------------------------------------------------------


def test_a_listening_process_shows_with_its_sockets(forensics: Forensics) -> None:
    with running(sys.executable, "-c", LISTEN) as process:
        assert process.stdout
        port = int(process.stdout.readline())

        seen = see(forensics, "sockets")

    ours = [one for one in seen["sockets"] if one["local"] == f"127.0.0.1:{port}"]
    assert [(one["protocol"], one.get("state"), "remote" in one) for one in ours] == [
        ("tcp", "LISTEN", False),
        ("udp", None, False),
    ]
    assert all(process.pid in [owner["pid"] for owner in one["held_by"]] for one in ours)
    assert {one["namespace"] for one in ours} == {seen["namespaces"][0]["namespace"]}


def test_a_socket_in_another_network_namespace_shows_as_well(forensics: Forensics) -> None:
    need_root()
    command = [
        need("unshare", "util-linux"),
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
        sys.executable,
        "-c",
        LISTEN,
    ]
    with running(*command) as process:
        assert process.stdout
        port = int(process.stdout.readline())

        seen = see(forensics, "sockets")

    ours = [
        one
        for one in seen["sockets"]
        if one["local"] == f"127.0.0.1:{port}" and one["namespace"] != seen["namespaces"][0]["namespace"]
    ]
    assert [(one["protocol"], one["held_by"][0]["pid"]) for one in ours] == [("tcp", process.pid), ("udp", process.pid)]


def test_who_listens_to_everything_that_passes_shows(forensics: Forensics) -> None:
    need_root()
    import socket

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        seen = see(forensics, "sockets")

    (ours,) = [
        one
        for one in seen["sockets"]
        if one["protocol"] == "packet" and os.getpid() in [owner["pid"] for owner in one.get("held_by", ())]
    ]
    assert ours["uid"] == os.getuid()


# The network ----------------------------------------------------------------------------------------------------------


def test_addresses_routes_rules_and_neighbours_are_those_of_ip(forensics: Forensics) -> None:
    need_root()
    subprocess.run(["ip", "link", "add", "evidence0", "type", "veth", "peer", "evidence1"], check=True, timeout=10)
    try:
        for command in (
            "link set evidence0 up",
            "address add 198.51.100.1/24 dev evidence0",
            "neighbour add 198.51.100.9 lladdr 02:00:00:00:00:09 dev evidence0",
        ):
            subprocess.run(["ip", *command.split()], check=True, timeout=10)

        seen = see(forensics, "routes")
    finally:
        subprocess.run(["ip", "link", "del", "evidence0"], check=True, timeout=10)

    assert seen["left_out"] == []
    assert "198.51.100.1" in json.dumps(seen["addresses"])
    assert [one["lladdr"] for one in seen["neighbours"] if one["dst"] == "198.51.100.9"] == ["02:00:00:00:00:09"]
    assert "198.51.100.0/24" in [one["dst"] for one in seen["routes"]]
    assert seen["rules"]


def test_the_ruleset_is_told_and_without_the_elements_of_its_sets_where_they_are_too_many(forensics: Forensics) -> None:
    need_root()
    need("nft", "nftables")
    comment = "x" * 120
    elements = ", ".join(f'10.{n >> 16}.{n >> 8 & 255}.{n & 255} comment "{comment}"' for n in range(30_000))
    nft("add table inet evidence; add set inet evidence many { type ipv4_addr; }; add element inet evidence many { 192.0.2.7 }")
    try:
        few = see(forensics, "ruleset")
        nft(f"add element inet evidence many {{ {elements} }}")
        many = see(forensics, "ruleset")
    finally:
        nft("delete table inet evidence")

    assert few["left_out"] == []
    assert "192.0.2.7" in json.dumps(few["nftables"])
    assert many["left_out"][0].startswith("nft -j list ruleset: it ")
    assert '"many"' in json.dumps(many["nftables"])
    assert "192.0.2.7" not in json.dumps(many["nftables"])


# Logins and the kernel ------------------------------------------------------------------------------------------------

WTMP = (
    "[7] [00812] [ts/0] [alice   ] [pts/0       ] [203.0.113.7         ] [203.0.113.7    ] [2026-11-23T08:15:00,000000+00:00]\n"
)


def test_who_is_and_was_logged_in_is_read_from_logind_and_wtmp(tmp_path: Path) -> None:
    sessions = tmp_path / "run/systemd/sessions"
    sessions.mkdir(parents=True)
    (sessions / "4").write_text("# This is private data.\nUID=1000\nUSER=alice\nREMOTE_HOST=203.0.113.7\nFIFO=/run/x\n")
    os.mkfifo(sessions / "4.ref")
    (tmp_path / "log").mkdir()
    written = subprocess.run(
        [need("utmpdump", "util-linux"), "-r"], input=(WTMP * 300).encode(), capture_output=True, timeout=10, check=True
    )
    (tmp_path / "log/wtmp").write_bytes(written.stdout + b"half a record")
    found = Found()

    traces.logins(found, tmp_path / "run", tmp_path / "log")

    seen = found.plain()
    assert seen["sessions"] == [{"session": "4", "uid": "1000", "user": "alice", "remote_host": "203.0.113.7"}]
    assert len(seen["logged_in_before"]) == 200
    assert seen["logged_in_before"][0] == {
        "kind": "login",
        "pid": 812,
        "user": "alice",
        "line": "pts/0",
        "host": "203.0.113.7",
        "since": 1795421700,
        "address": "203.0.113.7",
    }
    assert seen["left_out"] == [f"{tmp_path}/run/utmp: there is none"]


def test_the_kernel_tells_its_boot_and_mounts(forensics: Forensics) -> None:
    seen = see(forensics, "kernel")

    assert seen["settings"]["random/boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert "/proc" in [one["at"] for one in seen["mounts"]]


# What starts by itself ------------------------------------------------------------------------------------------------


def test_keys_are_told_by_fingerprint_and_files_by_hash_and_never_by_their_contents(tmp_path: Path) -> None:
    need("ssh-keygen", "openssh-client")
    home = tmp_path / "home/alice/.ssh"
    home.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True, timeout=20)
    public = (tmp_path / "key.pub").read_text()
    (home / "authorized_keys").write_text(f'# ours\n{public}command="/bin/x y" {public}ssh-rsa notakey\n')
    listed = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, timeout=20, check=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("root:$y$hash:1::::::\n")
    (tmp_path / "etc/crontab").write_text("* * * * * root curl evil\n")
    (tmp_path / "etc/ld.so.preload").write_text("/tmp/hook.so\n")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/evil.service").symlink_to("/dev/null")
    found = Found()

    traces.persistence(found, tmp_path)

    seen = found.plain()
    files = {one["path"].removeprefix(f"{tmp_path}/"): one for part in ("files", "changed", "homes") for one in seen[part]}
    kind, fingerprint = "ssh-ed25519", listed.stdout.split()[1]
    assert files["home/alice/.ssh/authorized_keys"]["keys"] == [f"{kind} {fingerprint}", f"{kind} {fingerprint} with options"]
    assert files["etc/crontab"]["sha256"] == sha256(b"* * * * * root curl evil\n").hexdigest()
    assert files["etc/crontab"]["mode"] == "-rw-r--r--"
    assert "sha256" not in files["etc/shadow"]
    assert files["etc/systemd/system/evil.service"]["link_to"] == "/dev/null"
    assert seen["preload"] == "/tmp/hook.so\n"
    assert public.split()[1] not in json.dumps(seen)


# In time, whatever hangs ----------------------------------------------------------------------------------------------


def test_a_look_that_hangs_is_given_up_on_with_what_it_had_found_and_too_many_of_them_are_refused() -> None:
    looks, release = Looks(), threading.Event()
    answers: list[dict[str, Any]] = []

    def hang(found: Found) -> None:
        found.rows("homes").append({"path": "/home/alice"})
        found.at = "/home/bob"
        release.wait(20)

    threads = [threading.Thread(target=lambda: answers.append(looks.take(hang))) for _ in range(8)]
    began = time.monotonic()
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    took = time.monotonic() - began

    assert took < 4
    assert [one["homes"] for one in answers] == [[{"path": "/home/alice"}]] * 8
    assert answers[0]["left_out"] == ["what comes after /home/bob: that hung, and was given up on after 2 s"]
    with pytest.raises(CannotReach, match="8 earlier looks hang still, the last at /home/bob"):
        looks.take(hang)
    release.set()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("sleep", "30"), "sleep 30: it did not end in time"),
        (("yes",), "yes: it printed more than 64 KiB"),
        (("sh", "-c", "echo no rights >&2; exit 4"), "sh -c echo no rights >&2; exit 4: no rights"),
        (("sh", "-c", "exec >&- 2>&-; sleep 30"), "sh -c exec >&- 2>&-; sleep 30: it did not end in time"),
        (("no-such-program",), "no-such-program: the command no-such-program is missing"),
    ],
    ids=["late", "endless", "fails", "silent", "missing"],
)
def test_a_program_that_hangs_floods_or_fails_is_left_out_with_the_reason(command: tuple[str, ...], why: str) -> None:
    found = Found()
    began = time.monotonic()

    said = output(found, command, 64 << 10, within=0.3)

    assert said is None
    assert found.plain()["left_out"] == [why]
    assert time.monotonic() - began < 2


def test_a_user_without_rights_gets_what_there_is_and_hears_what_is_missing(forensics: Forensics) -> None:
    need_root()
    os.seteuid(65534)
    try:
        answers = forensics.perform(everything(forensics))
    finally:
        os.seteuid(0)

    sockets, processes, *_ = [one.value for one in answers]
    assert [one.error for one in answers] == [None] * 7
    assert "that needs CAP_SYS_PTRACE" in str(sockets["left_out"])
    assert "that needs CAP_SYS_PTRACE" in str(processes["left_out"])
    assert 1 in [one["pid"] for one in processes["processes"]]


def test_everything_is_seen_quickly_and_can_be_written_down(forensics: Forensics) -> None:
    began = time.monotonic()

    answers = forensics.perform(everything(forensics))

    assert time.monotonic() - began < 10  # 0.1 s on two slow cores with 100 processes
    assert [one.error for one in answers] == [None] * 7
    assert all(write_plain({"value": one.value}, what="evidence") for one in answers)
    assert all("\n" not in forensics.native(one) for one in everything(forensics))
