"""What a block that is no shell must be: a policy that passes, an agent.yaml that loads, a unit that systemd takes, and so on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import yaml

from agent.event import Catalogue
from tests.docs.document import ROOT, Block

POLICY: Final = {
    "policy": "policy: an-example\n",
    "severity": "severity: P1\n",
    "when": "when:\n  event: auth.ssh.failure\n  by: src.ip\n  count: '>= 8 in 2m'\n",
    "then": "then:\n  - block_ip: {ip: $src.ip, ttl: 1h}\n",
}
"""What a part of a policy is laid over."""
_TOP: Final = re.compile(r"^([a-z_]+):", re.MULTILINE)


def check(block: Block, where: str, scratch: Path) -> str:
    """What is wrong with it; empty where nothing is."""
    match block.language:
        case "yaml":
            return _yaml(block, where, scratch)
        case "ini" if "systemd" in block.words:
            return _unit(block.text, scratch)
        case "json":
            return _raised(json.loads, block.text)
        case "python":
            return _raised(partial(compile, filename=where, mode="exec", dont_inherit=True), block.text)
        case "nft":
            return _ran(["nft", "--check", "--file", "-"], stdin=block.text)
    return ""


def _yaml(block: Block, where: str, scratch: Path) -> str:
    if "prometheus" in block.words:
        return _prometheus(block.text, scratch)
    if {"alertmanager", "grafana"} & set(block.words):
        return _raised(yaml.safe_load, block.text)
    if "part" in block.words:
        return _policy(_whole(block.text), where)
    if re.search(r"^policy:", block.text, re.MULTILINE):
        return _policy(block.text, where)
    return _agent(block.text, where)


def _whole(part: str) -> str:
    """A part of a policy with the rest of one; steps alone go under `then`."""
    if re.match(r"(#.*\n)*- ", part):
        part = "then:\n" + "".join(f"  {line}\n" for line in part.splitlines())
    named = set(_TOP.findall(part))
    return "".join(text for name, text in POLICY.items() if name not in named) + part


@cache
def _known() -> Catalogue:
    from agent.wiring import catalogue

    return catalogue(None)


@cache
def _ground() -> Any:
    from agent.grammar.config import Config
    from agent.proving.grounds import ground

    return ground(Config(), _known(), ())


def _policy(text: str, where: str) -> str:
    """As `contain policy check` and `contain policy test` say it."""
    from agent.grammar.policy_reader import read_policies
    from agent.grammar.problem import Problems
    from agent.proving.prove import problems
    from agent.watching import policy_tests
    from agent.wiring import parse

    try:
        policies, _ = read_policies({where: text}, _known(), parse, partial(problems, ground=_ground()))
    except Problems as found:
        return str(found)
    report = policy_tests.run(policy_tests.examples(policies), _known().lists)
    return "\n".join(str(one) for one in report.rows if one.because)


def _agent(text: str, where: str) -> str:
    """As the agent reads agent.yaml; of what must be there only its version is filled in."""
    from agent import checks
    from agent.action import discover
    from agent.grammar.config import read_config
    from agent.grammar.problem import Problems
    from agent.notifying.notifier import discover_notifiers
    from agent.streams.sender import discover_senders
    from agent.streams.sensor import discover_sensors

    whole = text if re.search(r"^version:", text, re.MULTILINE) else f"version: 1\n{text}"
    sensors = {name: made for name, made in discover_sensors().items() if name != "intake"}
    shelves = {"checks": discover(checks, mark="ask"), "senders": discover_senders(), "notifiers": discover_notifiers()}
    try:
        read_config(whole, where, sensors=sensors, **shelves)
    except Problems as found:
        return str(found)
    return ""


def _prometheus(text: str, scratch: Path) -> str:
    """Rules and a whole configuration as promtool reads them, where it is there."""
    if (said := _raised(yaml.safe_load, text)) or not shutil.which("promtool"):
        return said
    file = scratch / "prometheus.yaml"
    file.write_text(text)
    kind = "rules" if re.search(r"^groups:", text, re.MULTILINE) else "config"
    return _ran(["promtool", "check", kind, *(["--syntax-only"] if kind == "config" else []), str(file)])


def _unit(text: str, scratch: Path) -> str:
    """As a drop-in for the agent's own unit; programs stand where the unit says."""
    source = (ROOT / "systemd/containment-agent.service").read_text()
    unit = scratch / "containment-agent.service"
    unit.write_text(source.replace("@LIB@/bin/contain", "/bin/true").replace("@LIB@", "/usr/lib").replace("@SHARE@", "/s"))
    beside = scratch / f"{unit.name}.d"
    beside.mkdir(exist_ok=True)
    (beside / "block.conf").write_text(text)
    return _ran(["systemd-analyze", "verify", "--recursive-errors=no", str(unit)])


def _raised(read: Any, text: str) -> str:
    try:
        read(text)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        return str(error)
    return ""


def _ran(command: list[str], stdin: str = "") -> str:
    """What it complains of."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout + done.stderr) if done.returncode or "block.conf" in done.stderr else ""
