"""`contain block`: short for the action that operators need in a hurry."""

from __future__ import annotations

import click

from agent.cli.do import carry_out, order_options, rehearsal
from agent.cli.ends import Exit
from agent.cli.given import Given, Verb


@click.command(
    cls=Verb,
    examples=(
        "contain block 203.0.113.7 --for 1h --dry-run",
        'contain block 198.51.100.0/24 --for 30m --ports 80,443 --why "scans the shop"',
    ),
)
@click.argument("ip", metavar="ADDRESS")
@click.option("--for", "ttl", required=True, metavar="TIME", help="How long, as in 1h; `forever` until somebody lifts it.")
@click.option("--ports", metavar="N,N", help="Only to these ports.")
@click.option("--why", default="by hand", show_default=True, help="The reason; it stands in the evidence.")
@order_options
@click.pass_obj
def block(given: Given, *, ip: str, ttl: str, ports: str | None, why: str, dry_run: bool, exit_code: bool) -> Exit:
    """Drop every packet from an address or network, also for traffic that is forwarded to containers."""
    params = {"ip": ip, "ttl": ttl} | ({"ports": ports} if ports else {})
    if dry_run:
        return rehearsal(given, "block_ip", params, exit_code=exit_code)
    return carry_out(given, "block_ip", params, why=why)
