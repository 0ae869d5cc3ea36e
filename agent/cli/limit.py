"""`contain limit`: short for the action that slows down what cannot be blocked by address."""

from __future__ import annotations

import click

from agent.cli.do import carry_out, order_options, rehearsal
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb


@click.command(
    cls=Verb,
    examples=(
        "contain limit --service https --rps 20 --for 30m --dry-run",
        'contain limit --ip 203.0.113.7 --ports 80,443 --rps 5 --for 1h --why "hammers the shop"',
    ),
)
@click.option("--ip", metavar="ADDRESS", help="Throttle this address or network; without it, every source on its own.")
@click.option("--ports", metavar="N,N", help="Only to these ports.")
@click.option("--service", metavar="NAME", help="Only to the ports of this service, as /etc/services names it.")
@click.option("--rps", required=True, metavar="N", help="New connections (TCP) or packets (UDP) per second.")
@click.option("--burst", metavar="N", help="So many at once; twice --rps unless given.")
@click.option("--for", "ttl", required=True, metavar="TIME", help="How long, as in 30m; `forever` until somebody lifts it.")
@click.option("--why", default="by hand", show_default=True, help="The reason; it stands in the evidence.")
@order_options
@click.pass_obj
def limit(given: Given, /, *, why: str, dry_run: bool, exit_code: bool, **params: str | None) -> Exit:
    """Let through only so many new connections per second: from one address, or to ports or a service."""
    named = {name: value for name, value in params.items() if value is not None}
    if not {"ip", "ports", "service"} & named.keys():
        raise Stop(Exit.USAGE, "cannot limit everything\nName an address (--ip), ports (--ports) or a service (--service).")
    if dry_run:
        return rehearsal(given, "rate_limit", named, exit_code=exit_code)
    return carry_out(given, "rate_limit", named, why=why)
