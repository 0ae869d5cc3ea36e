"""What can be contained here, each with its order, and with eyes of its own: nft, SQL, HTTP and systemctl, never our code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import psycopg

from tests.docker_daemon import Dockerd
from tests.isolating import everything, web
from tests.openbao import Bao
from tests.postgres import Server, met
from tests.services import ServiceBox

_AUTO = "select name, setting from pg_file_settings where sourcefile like '%auto.conf' order by 1"
_PREPARED = "select gid, owner from pg_prepared_xacts order by 1"
_ROLES = (
    "select rolname, rolcanlogin, rolconnlimit, rolsuper, rolconfig from pg_roles where rolname in ('thief', 'app') order by 1"
)


def _nothing() -> None:
    """There is nothing to get ready."""


@dataclass(frozen=True)
class Subject:
    """One action on one thing. `holds` asks the system itself whether it is contained, `world` is all that it touches; both
    have a deadline. What is done `once` is never taken back. `takes` are the seconds that it may need. A `boxed` one's agent
    lives in the box with a systemd of its own.
    """

    name: str
    action: str
    params: Mapping[str, str]
    target: str
    holds: Callable[[], bool]
    world: Callable[[], object]
    ready: Callable[[], None] = _nothing
    again: Callable[[], None] = _nothing
    once: bool = False
    boxed: bool = False
    takes: float = 10.0

    def order(self, ttl: str) -> dict[str, Any]:
        """The body of a person's order."""
        params = dict(self.params) if self.once else {**self.params, "ttl": ttl}
        return {"action": self.action, "params": params, "why": "chaos", "sure": True}


# The kernel -----------------------------------------------------------------------------------------------------------


def table(name: str = "containment") -> str:
    """One of our tables as nft shows it, without counters and times; empty where it is not there."""
    shown = subprocess.run(["nft", "-s", "list", "table", "inet", name], capture_output=True, text=True, check=False, timeout=10)
    return re.sub(r" (timeout|expires) [0-9a-z]+", "", shown.stdout)


def contained() -> str:
    """The table of blocks and limits without the life-lines in it, which are learnt some time."""
    return re.sub(r"\tset allow[46] \{.*?\n\t\}\n", "", table(), flags=re.DOTALL)


def _blocked(address: str) -> bool:
    return address in contained()


def _shut() -> bool:
    """The switch in the kernel is on while this set holds something."""
    armed = table("containment_host").partition("set armed")[2].partition("}")[0]
    return "elements" in armed


def kernel(yard: str = "203.0.113") -> list[Subject]:
    """Blocks, limits, and the isolation of the host."""
    made = [("block_ip", "9", {}), ("block_egress", "10", {}), ("rate_limit", "11", {"rps": "10"})]
    blocks = [
        Subject(action, action, {"ip": (ip := f"{yard}.{last}"), **more}, ip, holds=partial(_blocked, ip), world=contained)
        for action, last, more in made
    ]
    shut = Subject(
        "isolate_host", "isolate_host", {"confirm": "30s"}, "host",
        holds=_shut, world=lambda: table("containment_host"), takes=20,
    )  # fmt: skip
    return [*blocks, shut]


# PostgreSQL -----------------------------------------------------------------------------------------------------------


def furnish(server: Server) -> None:
    """What the agent may do, a role that writes, and one that is to be locked out."""
    server.run("create role app login", "create role thief login connection limit 3")
    server.run("create table written (a int)", "alter table written owner to app")
    server.grant("postgres")


def _read_only(server: Server) -> bool:
    return met(server, "app") in ("25006", "55P03")  # told off, or not let to the table


def _locked_out(server: Server) -> bool:
    try:
        psycopg.connect(server.dsn.replace("user=agent", "user=thief"), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if "not permitted to log in" in str(error):
            return True
        raise
    return False


class Session:
    """A session of the role app, which is there whenever it is to be ended."""

    def __init__(self, server: Server) -> None:
        self._dsn, self._held = server.dsn.replace("user=agent", "user=app"), list[psycopg.Connection[Any]]()

    def begin(self) -> None:
        self.end()
        self._held = [psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)]

    def dead(self) -> bool:
        try:
            self._held[0].execute("select 1")
        except psycopg.OperationalError:
            return True
        return False

    def end(self) -> None:
        for one in self._held:
            with closing(one):
                pass
        self._held = []


def postgres(server: Server, *, fence: bool = True) -> list[Subject]:
    """Stops of writes, sessions and roles of one server that is `furnish`ed."""

    def writes() -> object:
        return server.rows(_AUTO), server.rows(_PREPARED), met(server, "app"), server.value("show lock_timeout")

    def fenced() -> bool:
        return bool(server.value("select pg_is_in_recovery()"))

    def place() -> object:
        timeline = server.value("select timeline_id from pg_control_checkpoint()")
        return sorted(one.name for one in server.data.iterdir() if one.name != "postmaster.pid"), timeline, writes()

    session = Session(server)
    stops = [
        Subject(
            f"stop_writes {strength}", "stop_writes", {"strength": strength}, "main",
            holds=lambda: _read_only(server), world=writes, takes=30,
        )
        for strength in ("soft", "hard")
    ]  # fmt: skip
    made = [
        *stops,
        Subject("stop_writes fence", "stop_writes", {"strength": "fence"}, "main", holds=fenced, world=place, takes=60),
        Subject(
            "lock_role", "lock_role", {"role": "thief"}, "thief",
            holds=lambda: _locked_out(server), world=lambda: server.rows(_ROLES),
        ),
        Subject(
            "end_sessions", "end_sessions", {"role": "app"}, "main",
            holds=session.dead, world=lambda: None, ready=session.begin, again=session.end, once=True,
        ),
    ]  # fmt: skip
    return [one for one in made if fence or one.name != "stop_writes fence"]


# Vault ----------------------------------------------------------------------------------------------------------------


def vault(bao: Bao) -> list[Subject]:
    """An entity that is disabled, and a token that is revoked."""
    bao.user("chaos")
    bao.user("chaos-too")  # the first one cannot log in while its entity is disabled
    entity = bao.login("chaos")["entity_id"]
    token, wanted = dict[str, Any](), dict[str, str]()

    def seen() -> dict[str, Any]:
        found = bao.ask("GET", f"identity/entity/id/{entity}")["data"]
        return {key: value for key, value in found.items() if key != "last_update_time"}

    def begin() -> None:
        token.update(bao.login("chaos-too"))
        wanted["accessor"] = token["accessor"]

    disable = {"entity": entity, "tokens": "false"}
    return [
        Subject(
            "revoke entity", "revoke_credentials", disable, entity,
            holds=lambda: bool(seen()["disabled"]), world=seen, takes=20,
        ),
        Subject(
            "revoke token", "revoke_credentials", wanted, "",
            holds=lambda: not bao.works(token), world=lambda: None, ready=begin, once=True, takes=20,
        ),
    ]  # fmt: skip


# Docker ---------------------------------------------------------------------------------------------------------------


def docker(dockerd: Dockerd) -> list[Subject]:
    """A container on two networks with a published port. The thread is in dockerd's network."""

    def begin() -> None:
        if not dockerd.api.containers(all=True, filters={"name": "^/web$"}):
            web(dockerd)
        dockerd.api.start("web")

    def seen() -> object:
        attrs, _nat, _tables, inside, links = cast("tuple[object, ...]", everything(dockerd, "web"))
        return attrs, inside, links

    def cut() -> bool:
        attrs = dockerd.attrs("web")
        return bool(attrs["State"]["Paused"]) or not attrs["NetworkSettings"]["Networks"]

    def kept() -> object:
        """What outlives a restart of the daemon, with which its containers end."""
        attrs = dockerd.attrs("web")
        networks = {name: (one["IPAMConfig"], one["Aliases"]) for name, one in attrs["NetworkSettings"]["Networks"].items()}
        return networks, attrs["HostConfig"]["RestartPolicy"]

    whole = Subject(
        "isolate_container", "isolate_container", {"container": "web"}, "web",
        holds=cut, world=seen, ready=begin, takes=40,
    )  # fmt: skip
    return [whole, replace(whole, name="isolate_container, as kept", world=kept)]


# systemd, in a box ----------------------------------------------------------------------------------------------------


def services(box: ServiceBox) -> list[Subject]:
    """Units stopped, frozen, cut off and restarted, and an account that is locked."""
    watched = ("packaged.service", "echo.service", "idle.service")

    def world() -> object:
        return box.state(*watched), box.drop_ins()

    def stopped() -> bool:
        return box.unit("packaged.service", "LoadState") == "masked"

    invocation = dict[str, str]()

    def note() -> None:
        invocation["was"] = box.unit("packaged.service", "InvocationID")

    def accounts() -> object:
        return box.run("cat", "/etc/shadow", "/etc/passwd")

    box.reset()
    if "bob" not in str(accounts()):
        box.run("useradd", "bob")
    stop, freeze, isolate, restart = "packaged.service", "echo.service", "echo.service", "packaged.service"
    made = [
        Subject("stop_service", "stop_service", {"unit": stop}, stop, holds=stopped, world=world),
        Subject(
            "freeze_service", "freeze_service", {"unit": freeze}, freeze,
            holds=lambda: box.unit(freeze, "FreezerState") == "frozen", world=world,
        ),
        Subject(
            "isolate_service", "isolate_service", {"unit": isolate}, isolate,
            holds=lambda: bool(box.unit(isolate, "IPAddressDeny")), world=world,
        ),
        Subject(
            "restart_service", "restart_service", {"unit": restart, "most": "100"}, restart,
            holds=lambda: box.unit(restart, "InvocationID") != invocation["was"], world=lambda: None, ready=note, once=True,
        ),
        Subject(
            "lock_user", "lock_user", {"user": "bob", "end_sessions": "false"}, "bob",
            holds=lambda: box.run("getent", "shadow", "bob").split(":")[7] == "1", world=accounts,
        ),
    ]  # fmt: skip
    return [replace(one, boxed=True) for one in made]
