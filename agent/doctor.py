"""Look for what keeps the agent from working on this host: one finding for each thing looked at, with its mend."""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from agent import look, rights
from agent.action import CannotReach, System
from agent.expiry import timers
from agent.grammar.problem import Problems
from agent.guard import WIDEST, Lifelines
from agent.schema import spoken

_TIME_ERROR: Final = 5
_OLDEST: Final = (3, 11)
WITHIN: Final = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `ok` is None where it could not be seen, or does not matter here."""

    what: str
    ok: bool | None
    say: str
    mend: str = ""


def examine(config_path: Path) -> Iterator[Finding]:
    """Look at everything, in the order in which the agent needs it."""
    from agent import wiring
    from agent.feeds.examine import examine as examine_feeds
    from agent.intake.examine import examine as examine_intake
    from agent.notifying.examine import examine as examine_channels

    yield _python()
    yield from _rights()
    yield _clock()
    if not config_path.exists():
        yield Finding("config", False, f"{config_path} does not exist", "have one written for this host: contain init")
        yield from _firewall(wiring.systems(None))
        return
    try:
        config = wiring.read_config_file(config_path)
        policies, warnings = wiring.read_policies(config)
    except (Problems, CannotReach, OSError) as error:
        yield Finding("config", False, str(error), "mend the file; `contain policy check` shows every mistake of the policies")
        yield from _firewall(wiring.systems(None))
        return
    yield Finding("config", True, f"{config_path}: {len(policies)} policies{_warned(len(warnings))}")
    yield from (Finding("config", None, f"{one.place}: {one.text}", one.hint) for one in config.notes)
    yield from _needed(config, policies)
    yield from _deaf(config, policies)
    yield from _approvers(config)
    systems = wiring.systems(config)
    yield from _firewall(systems)
    yield _writable("journal", config.journal)
    yield _writable("socket", config.socket)
    yield from (Finding(one.what, None, one.say, one.mend) for one in rights.lacking(config.socket))
    yield from _systemd(config, systems)
    yield _expiry(config)
    yield from _sensors(config)
    yield from (Finding(*one) for one in examine_intake(config.intake))
    yield from (Finding(*one) for one in examine_feeds(config.feeds))
    yield from (Finding(*one) for one in examine_channels(config.notifiers, config.routes))
    yield from _postgres(config, systems)
    yield from _vault(config, systems)
    yield from _docker(config, systems)
    yield from _lifelines(config, wiring.lifelines(config, systems))


def _needed(config: Any, policies: Iterable[Any]) -> Iterator[Finding]:
    """Steps whose system agent.yaml does not name: they could only fail when they are needed."""
    found = {(one.name, step.action.name, lacking) for one in policies for step in one.then for lacking in _lacking(config, step)}
    for policy, action, lacking in sorted(found):
        mend = "name it there; until then this step fails when it is needed"
        yield Finding(f"policy {policy}", None, f"{action} needs {lacking}", mend)


def _lacking(config: Any, step: Any) -> Iterator[str]:
    needs = {needed.name for needed in step.action.needs.values()}
    instance = step.literal.get("instance", getattr(step.action, "instance", ""))
    if "postgres" in needs and instance and instance not in config.postgres:
        yield f"systems: {{postgres: {{{instance}: …}}}}, which agent.yaml does not name"
    if "vault" in needs and config.vault is None:
        yield "systems: {vault: …}, which agent.yaml does not name"
    if needs == {"containers"} and config.docker is None:
        yield "systems: {docker: {}}, which agent.yaml does not name"


def _deaf(config: Any, policies: Sequence[Any]) -> Iterator[Finding]:
    """Policies that nobody feeds: armed they look, and nothing ever comes of them."""
    from agent.heard import deaf

    for policy, kinds in deaf(policies, config).items():
        ways = dict.fromkeys(_brings(kind) for kind in kinds)
        mend = f"add {', '.join(ways)}; or take the policy away"
        yield Finding(f"policy {policy}", None, f"it waits for {', '.join(kinds)}, and no sensor brings that", mend)


_BRING: Final = {
    "check": "a check, as in checks: {disks: {disk: {}}}",
    "alert": "intake: {senders: {…}}, or a sensor of the type sqs",
    "wazuh.": "intake: {senders: {…}}",
    "intake.": "intake: {senders: {…}}",
    "agent.bad_input": "intake: {senders: {…}}",
    "fail2ban.": "a sensor with filters: […], as contain policy import-fail2ban writes them",
    "crowdsec.": "feeds: {decisions: {crowdsec: {key_file: …}}}",
    "file.": "sensors: {files: {files: {paths: […]}}}",
    "net.syn": "sensors: {kernel: {kernel: {}}}",
    "net.udp": "sensors: {kernel: {kernel: {}}}",
    "net.packets": "sensors: {packets: {packets: {}}}",
    "net.": "sensors: {connections: {connections: {}}}",
}


def _brings(kind: str) -> str:
    """What in agent.yaml brings such events."""
    from agent.brings import brings

    ways = (way for name, way in _BRING.items() if kind.startswith(name))
    parsers = " or ".join(one.removeprefix("parser ") for one in brings().get(kind, ()) if one.startswith("parser ")) or "for it"
    return next(ways, f"a sensor with the parser {parsers}, as in sensors: {{auth: {{journald: {{parsers: […]}}}}}}")


def _approvers(config: Any) -> Iterator[Finding]:
    for name in config.approvals.by:
        try:
            pwd.getpwnam(name)
        except KeyError:
            mend = "name users of this host under approvals: {by: […]}"
            yield Finding("approvals", False, f"`{name}` may approve, and is no user of this host", mend)


# The host -------------------------------------------------------------------------------------------------------------


def _warned(count: int) -> str:
    return f", {count} warning{'' if count == 1 else 's'}; see: contain policy check" if count else ""


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= _OLDEST
    return Finding("python", ok, f"Python {version}", "" if ok else "Python 3.11 or newer is needed: apt-get install python3.11")


def _rights() -> Iterator[Finding]:
    ok = bool(rights.held() >> rights.NET_ADMIN & 1)
    say = "CAP_NET_ADMIN is held" if ok else "CAP_NET_ADMIN is missing: nothing can be blocked, only shown"
    yield Finding(
        "rights", ok, say, "" if ok else "run this as root, or as the agent's unit does (AmbientCapabilities=CAP_NET_ADMIN)"
    )


def _clock() -> Finding:
    """Whether something keeps the clock right (adjtimex(2)): evidence is worth what its times are worth."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # all zeros: asks, and changes nothing
    if state < 0:
        return Finding("clock", None, "this host does not say whether its clock is kept right")
    if state == _TIME_ERROR:
        mend = "apt-get install systemd-timesyncd (or chrony); in a container the host's clock counts"
        return Finding("clock", False, "nothing keeps this host's clock right, so the times in the evidence may be wrong", mend)
    return Finding("clock", True, "the clock is kept right")


def _firewall(systems: dict[str, System]) -> Iterator[Finding]:
    firewall: Any = systems["firewall"]
    why = firewall.ready()
    if not why:
        yield Finding("firewall", True, "nft and the kernel take our ruleset, with sets, intervals and timeouts")
        return
    said, _, mend = why.partition("; ")
    yield Finding("firewall", False, said, mend or "run this as root; on a small kernel, load the module nf_tables")


def _systemd(config: Any, systems: dict[str, System]) -> Iterator[Finding]:
    asked = [one for one in config.checks.values() if "units" in one.question.needs]
    units: Any = systems["units"]
    try:
        units.states(["dbus.service"], restarts_within=WITHIN, within=WITHIN)
    except CannotReach as error:
        if not asked:
            yield Finding("systemd", None, f"{error}; no check asks for units")
        else:
            yield Finding("systemd", False, str(error), "unit checks answer `unknown` until then: apt-get install dbus")
        return
    yield Finding("systemd", True, "systemd answers over D-Bus")


def _expiry(config: Any) -> Finding:
    """Whether what the kernel does not end still ends when the agent is dead."""
    held = "blocks, limits and the isolation of the host end in the kernel"
    if not timers.has_timers():
        return Finding("expiry", None, f"{held}; all else ends by the agent, or at its next start: there is no systemd here")
    if why := timers.refused(config.socket):
        said, _, mend = why.rpartition("; ")
        return Finding("expiry", False, f"{said}. {held.capitalize()}; all else waits for the agent's next start", mend)
    return Finding("expiry", True, f"{held}, all else by a timer of systemd's if the agent is dead then")


# What agent.yaml names ------------------------------------------------------------------------------------------------


def _writable(what: str, file: Path) -> Finding:
    """Whether the agent can make the file: in its directory, or in the nearest one above that exists."""
    place = next(one for one in file.absolute().parents if one.exists())
    if os.access(place, os.W_OK | os.X_OK):
        disk = os.statvfs(place)
        if not disk.f_bavail or (disk.f_files and not disk.f_favail):
            return Finding(what, False, f"{file} cannot be written: the disk of {place} is full", f"make room: df {place}")
        return Finding(what, True, f"{file} can be written")
    return Finding(
        what,
        False,
        f"{file} cannot be written: no right to write in {place}",
        f"run this as the agent's user, or: chown it {place}",
    )


def _sensors(config: Any) -> Iterator[Finding]:
    for name, sensor in config.sensors.items():
        if sensor.name == "logfile":
            yield _readable(name, Path(sensor.path))
        elif sensor.name == "journald":
            yield _journal(name)
        else:
            yield Finding(f"sensor {name}", True, "needs nothing but this kernel")


def _readable(name: str, file: Path) -> Finding:
    if not file.exists():
        return Finding(f"sensor {name}", None, f"{file} does not exist yet; it is waited for", "is the path in agent.yaml right?")
    if os.access(file, os.R_OK):
        return Finding(f"sensor {name}", True, f"{file} can be read")
    group = file.group() if file.exists() else "adm"
    return Finding(
        f"sensor {name}", False, f"{file} cannot be read by this user", f"usermod --append --groups {group} the agent's user"
    )


def _journal(name: str) -> Finding:
    """Without the group, journalctl shows a user only his own messages, silently."""
    places = [one for root in look.JOURNALS if root.is_dir() for one in root.iterdir()]
    if not places:
        return Finding(f"sensor {name}", False, "there is no journal here", "name log files instead, or install systemd-journald")
    if all(os.access(one, os.R_OK | os.X_OK) for one in places):
        return Finding(f"sensor {name}", True, "the whole journal can be read")
    mend = "usermod --append --groups systemd-journal the agent's user"
    return Finding(f"sensor {name}", False, "this user sees only its own messages in the journal", mend)


def _postgres(config: Any, systems: dict[str, System]) -> Iterator[Finding]:
    server: Any = systems["postgres"]
    for instance in config.postgres:
        try:
            server.row("select 1 as one", instance=instance)
        except CannotReach as error:
            mend = "contain grants postgres | psql (as a superuser), and a line in pg_hba.conf that lets the agent in"
            yield Finding(f"postgres {instance}", False, str(error), mend)
            continue
        yield Finding(f"postgres {instance}", True, "answers, and lets the agent watch")
        yield from _granted(f"postgres {instance}", partial(server.lacks, instance), "contain grants postgres | psql")


def _granted(what: str, ask: Callable[[], list[str]], mend: str) -> Iterator[Finding]:
    """Whether the agent may do there what its actions need."""
    try:
        lacking = ask()
    except CannotReach as error:
        yield Finding(what, None, f"cannot see what the agent may do there: {error}", mend)
        return
    for one in lacking:
        yield Finding(what, False, one, mend)
    if not lacking:
        yield Finding(what, True, "the agent may do all that its actions need")


def _vault(config: Any, systems: dict[str, System]) -> Iterator[Finding]:
    if config.vault is None:
        yield Finding("vault", None, "agent.yaml names none, so that no credential can be revoked")
        return
    vault: Any = systems["vault"]
    mend = "contain grants vault > containment.hcl, adapt its paths, then: vault policy write containment containment.hcl"
    yield from _granted("vault", vault.lacks, mend)


def _docker(config: Any, systems: dict[str, System]) -> Iterator[Finding]:
    if config.docker is None:
        yield Finding("docker", None, "agent.yaml names none, so that no container can be isolated")
        return
    containers: Any = systems["containers"]
    said, _, mend = containers.ready().partition("; ")
    yield Finding("docker", not said, said or "answers, and containers can be isolated", mend)


def _lifelines(config: Any, lifelines: Lifelines) -> Iterator[Finding]:
    wide = [spoken(one) for one in config.never_touch if one.prefixlen < WIDEST[one.version]]
    if wide:
        mend = "name the networks of your people, not the whole internet"
        yield Finding("never_touch", False, f"{', '.join(wide)} is so wide that hardly anything can be blocked", mend)
    elif not config.never_touch:
        mend = "add the addresses you administer this host from to never_touch"
        yield Finding("never_touch", None, "nothing is on it; only this host's own life-lines are safe", mend)
    else:
        yield Finding("never_touch", True, f"{len(config.never_touch)} networks, and this host's own life-lines")
    yield from _own_peer(lifelines)


def _own_peer(lifelines: Lifelines) -> Iterable[Finding]:
    """Whether the person who asks this would be cut off."""
    peer = os.environ.get("SSH_CONNECTION", "").split(" ")[0].partition("%")[0]
    if not peer:
        return [Finding("you", None, "not connected over ssh, as far as this can see")]
    line = lifelines.touched(ip_network(peer))
    if line:
        return [Finding("you", True, f"your connection from {peer} is never touched: {line.why}")]
    return [Finding("you", False, f"your connection from {peer} is not protected", f"add {peer} to never_touch")]
