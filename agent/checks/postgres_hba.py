"""Does PostgreSQL's pg_hba.conf let people in without a password?"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Address
from agent.systems.postgres import Postgres
from agent.systems.postgres_file_views import missing_grant

_MOST: Final = 3
"""Lines that are named."""


@check
class PostgresHba:
    """No line of pg_hba.conf trusts whoever comes over the network, and none is broken.

    `trust` asks for nothing, a superuser's name included; in the networks of `trusted` it is accepted. One broken line, and
    the old rules stay in force. This is what the file says, which is in force after the next reload.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    trusted: Annotated[tuple[Address, ...], About("networks in which `trust` is accepted, as in [192.0.2.0/28]")] = ()

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the number of such lines."""
        missing = missing_grant(postgres, "pg_hba_file_rules", self.instance)
        if missing:
            return unknown(missing, target=self.instance)
        lines = postgres.rows(
            """
            select line_number as line, case when type is null then error end as error,  -- else it only cannot match now
                   address, netmask, array_to_string(user_name, ',') as roles
            from pg_hba_file_rules where type is null or (auth_method = 'trust' and type <> 'local') order by line_number
            """,
            instance=self.instance,
        )
        wrong = [one for one in lines if one.error or not self._is_trusted(one)]
        if not wrong:
            return good("pg_hba.conf trusts nobody over the network", value=0, limit=1, target=self.instance)
        more = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        say = f"pg_hba.conf {'; '.join(map(_told, wrong[:_MOST]))}{more}"
        return bad(say, value=len(wrong), limit=1, target=self.instance)

    def _is_trusted(self, line: Any) -> bool:
        network = _network(line.address, line.netmask)
        return network is not None and any(
            network.version == one.version and network.subnet_of(one)  # type: ignore[arg-type]
            for one in self.trusted
        )


def _network(address: str, netmask: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """What a line is for, with its netmask written out; None for names, and for words as `samenet`."""
    try:
        mask = ipaddress.ip_address(netmask or "")
        found = ipaddress.ip_network(f"{address}/{int(mask).bit_count()}", strict=False)
    except ValueError:
        return None
    return found if found.netmask == mask else None


def _told(line: Any) -> str:
    if line.error:
        return f"line {line.line} is broken, so that the file is not loaded: {line.error}"
    return f"line {line.line} trusts {line.roles} from {line.address} without a password"
