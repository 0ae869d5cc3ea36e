"""A Debian host with the package in it, and an attacker beside it who knocks."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.running import wait_for
from tests.systemd_box import Box

AGENT: Final = "containment-agent.service"
DROPINS: Final = "/etc/systemd/system/containment-.service.d"
SHOP: Final = """\
[Unit]
Description=Something that listens

[Service]
ExecStart=/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""
SHOP_SOCKET: Final = "[Socket]\nListenStream=8080\n\n[Install]\nWantedBy=sockets.target\n"
KNOCK: Final = """\
import json, os, select, socket, sys, time
# Opens a connection every 5 ms until one is answered or the file is there, and says how many were begun and answered.
opened, begun, answered, until = {}, 0, 0, time.monotonic() + float(sys.argv[1])
poll = select.poll()
while not answered and time.monotonic() < until and not os.path.exists("/root/enough"):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("203.0.113.1", 8022))
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
DOOR: Final = "[Service]\nExecStart=/usr/bin/python3 /root/door.py\n\n[Install]\nWantedBy=multi-user.target\n"
OPEN: Final = """\
import socket
# Opens to everybody: Debian 13's sshd lets nobody in who knocks so often.
door = socket.create_server(("", 8022), backlog=4096)
while True:
    door.accept()[0].close()
"""


class Host(Box):
    """A box with the package in it, and an attacker beside it."""

    def contain(self, *words: str) -> str:
        return self.run("contain", *words)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.contain("status", "--json"))["items"][0]
        return answer

    def attacker(self, *command: str, within: float = 30) -> str:
        return self.run("ip", "netns", "exec", "attacker", *command, check=False, within=within)

    def reaches(self) -> bool:
        """Whether one of some hundred connections of the attacker is answered."""
        _, answered = json.loads(self.attacker("/usr/bin/python3", "/root/knock.py", "0.6"))
        return bool(answered)

    def blocked(self) -> str:
        """The single addresses that the kernel drops; nothing before the first one, when there is no table."""
        return self.run("nft", "list", "set", "inet", "containment", "hosts4", check=False)

    def guess(self) -> None:
        """Nine names that do not exist, tried at once: Debian 13's sshd makes who tries one after the other wait."""
        ssh = "timeout 5 ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=2"
        self.attacker("sh", "-c", f"for one in 1 2 3 4 5 6 7 8 9; do {ssh} oracle$one@203.0.113.1 & done; wait")

    def sh(self, script: str) -> str:
        """What a script prints; its first failing command ends it."""
        return self.run("sh", "-ec", script)

    def written(self) -> set[str]:
        """All files that are in the box and not in the root that it lies over, or are others there."""
        upper = self.home / "upper"
        return {f"/{one.relative_to(upper)}" for one in upper.rglob("*") if not one.is_dir() or one.is_symlink()}

    def log(self) -> str:
        return self.run("journalctl", "--unit", AGENT, "--output=cat", "--no-pager")

    def main(self) -> str:
        """The agent's process, as the box numbers it."""
        return self.unit(AGENT, "MainPID")

    def comes_back(self, before: str) -> None:
        """Wait until the agent is another process, and ready."""
        wait_for(lambda: self.main() not in ("0", before) and self.unit(AGENT, "ActiveState") == "active", 30)


def next_version(deb: Path, place: Path) -> Path:
    """The package of a version 0.2.0: a module has another name there, one policy is another one, and one is new."""
    root = place / "next"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, root], check=True, timeout=60)
    (agent,) = root.glob("usr/lib/containment-agent/shipped/lib/python3.*/site-packages/agent")
    (agent / "sdnotify.py").rename(agent / "signs_of_life.py")
    for module in agent.rglob("*.py"):
        _replace(module, r"\bsdnotify\b", "signs_of_life")
    _replace(agent / "__init__.py", r'__version__ = ".*"', '__version__ = "0.2.0"')
    _replace(root / "DEBIAN/control", r"(?m)^Version: .*", "Version: 0.2.0")
    _replace(root / "usr/lib/containment-agent/setup", r"(?m)^VERSION=.*", "VERSION=0.2.0")
    policies = root / "usr/share/containment-agent/policies"
    for name in ("ssh_brute_force", "disk_full", "syn_flood"):
        _replace(policies / f"{name}.yaml", r"(?m)^title: .*", "title: Of the next version")
    text = (policies / "disk_full.yaml").read_text(encoding="utf-8")
    (policies / "disk_fuller.yaml").write_text(text.replace("policy: disk-full", "policy: disk-fuller"), encoding="utf-8")
    made = place / "next.deb"
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "--build", root, made], check=True, timeout=60, capture_output=True
    )
    return made


def _replace(file: Path, pattern: str, text: str) -> None:
    """Another file in its place: nothing is written through to where it may be linked."""
    before = file.read_text(encoding="utf-8")
    after = re.sub(pattern, text, before)
    if after != before:
        file.write_text(after, encoding="utf-8")
