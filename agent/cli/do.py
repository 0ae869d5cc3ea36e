"""`contain do`: any action, carried out by the running agent, or only shown; `block` and `limit` are short for two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from agent.cli import plan
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb

F = TypeVar("F", bound=Callable[..., Any])

ENDS: Final = {
    "in_force": Exit.DONE,
    "would": Exit.DONE,
    "nothing": Exit.DONE,
    "partly": Exit.PARTLY,
    "under_way": Exit.PARTLY,
    "refused": Exit.REFUSED,
    "usage": Exit.USAGE,
}


PATIENCE: Final = 75.0
"""Seconds to wait for an action; some end hundreds of sessions, or wait for a reload."""


def order_options(command: F) -> F:
    """The options that every way of carrying out an action has."""
    for option in (
        click.option("--exit-code", is_flag=True, help="With --dry-run: exit with 10 where something would be done."),
        click.option("--dry-run", is_flag=True, help="Only show what would be done; needs no running agent."),
    ):
        command = option(command)
    return command


class ActionName(click.ParamType[str]):
    """An action's name, completed from the files there are."""

    name = "action"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Actions that begin like this; nothing is imported for it."""
        import actions

        names = sorted(file.stem for place in actions.__path__ for file in Path(place).glob("[a-z]*.py"))
        return [CompletionItem(one) for one in names if one.startswith(incomplete)]


class Do(Verb):
    """Names the actions there are in its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`contain do ACTION --help` is about that action."""
        if {"-h", "--help"} & set(args) and (named := next((one for one in args if not one.startswith("-")), "")):
            from agent import wiring

            if action := wiring.catalogue(None).actions.get(named):
                click.echo("\n".join(plan.described(action)))
                ctx.exit()
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The actions with their parameters, then the options."""
        from agent import wiring

        with formatter.section("Actions"):
            formatter.write_dl([plan.usage(one) for one in wiring.catalogue(None).actions.values()], col_max=20)
        super().format_options(ctx, formatter)


@click.command(
    cls=Do,
    examples=(
        "contain do block_ip ip=203.0.113.7 ttl=1h --dry-run",
        'contain do block_ip ip=203.0.113.7 ttl=1h --why "scans the shop"',
    ),
)
@click.argument("action", type=ActionName())
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--why", default="", help="The reason; it stands in the evidence. Needed unless it is a dry run.")
@click.option("--yes", is_flag=True, help="Do not ask back before what is more than mild.")
@order_options
@click.pass_obj
def do(given: Given, *, action: str, params: tuple[str, ...], why: str, yes: bool, dry_run: bool, exit_code: bool) -> Exit:
    """Carry out an action, or with --dry-run show exactly what it would do.

    The guard judges it as it judges policies. Lists are written with commas: ports=80,443.
    """
    values = dict(_pair(one) for one in params)
    impact = plan.bind(action, values).impact  # a mistyped name or value is told before anything else is asked for
    if not why and not dry_run:
        raise Stop(Exit.USAGE, f'cannot do {action}: a person\'s order needs a reason\nAdd --why "…", or --dry-run to only look.')
    if dry_run:
        return rehearsal(given, action, values, exit_code=exit_code)
    if not yes and impact != "mild":
        _ask_first(given, action, values)
    return carry_out(given, action, values, why=why, sure=True)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        mend = "Write NAME=VALUE without spaces, as in ip=203.0.113.7 ttl=1h."
        raise Stop(Exit.USAGE, f"cannot read the parameter `{text}`: it has no `=`\n{mend}")
    return name, value


def _ask_first(given: Given, action: str, params: Mapping[str, str]) -> None:
    """What is more than mild is shown first, and done only after a person typed its target."""
    found = plan.rehearse(given, action, params)
    if not given.json:
        plan.tell(given, found, exit_code=False)
    if not found.allowed:
        raise Stop(Exit.REFUSED, f"refused: {found.because}")
    if found.changes:
        given.sure(f"{action} {found.target}, which is {found.action.impact}", found.target, yes=False)


def rehearsal(given: Given, action: str, params: Mapping[str, str], *, exit_code: bool) -> Exit:
    """Show the plan."""
    return plan.tell(given, plan.rehearse(given, action, params), exit_code=exit_code)


def carry_out(given: Given, action: str, params: Mapping[str, str], *, why: str, sure: bool = False) -> Exit:
    """Have the running agent carry it out, and say what came of it; `sure` is a person's yes to what is destructive."""
    answer = given.ask("do", patience=PATIENCE, action=action, params=dict(params), why=why, sure=sure)
    result = answer["result"]
    if given.json:
        given.show.document("do", [answer])
    elif result in ("in_force", "partly", "under_way"):
        _tell_made(given, answer)
    elif result == "would":
        given.show.line("Dry run: the agent recorded it, and did nothing. See: contain mitigations")
    elif result == "nothing":
        given.show.line(f"Nothing to do: {given.show.text(answer['because'])}.")
    if result == "refused":
        raise Stop(Exit.REFUSED, f"refused: {answer['because']}")
    if not given.json and (taken := answer.get("evidence")):
        _tell_evidence(given, taken, answer["mitigations"][:1])
    if result == "waits":
        raise Stop(Exit.WAITS, f"{answer['approval']} waits: {answer['because']}")
    if result not in ENDS:
        raise Stop(Exit.FAILED, f"cannot do {action}: {answer.get('error') or result}\nSee: contain evidence show")
    return ENDS[result]


def _tell_made(given: Given, answer: Mapping[str, Any]) -> None:
    """What is in force or done now, read back, and how to take it back."""
    made = [one for one in given.ask("mitigations", ended=True)["items"] if one["id"] in answer["mitigations"]]
    made.sort(key=lambda one: int(one["id"].rpartition("-")[2]))
    for one in made:
        given.show.line(f"{one['id']}  {_how(given, one)}")
    if held := [one for one in made if one["stage"] == "in_force"]:
        given.show.talk(f"undo: contain undo {held[0]['id'] if len(held) == 1 else held[0]['target']}")
    for one in held:
        if one["alone"]:
            given.show.talk(f"{one['id']} ends only while the agent runs, or at its next start: {given.show.text(one['alone'])}")
    if waiting := next((one for one in held if one["confirm"]), None):
        given.show.talk(f"It takes itself back {given.show.at(waiting['confirm'])}, unless: contain confirm {waiting['id']}")


def _tell_evidence(given: Given, taken: Sequence[Mapping[str, Any]], made: Sequence[str]) -> None:
    """What was kept before the act, and what could not be had."""
    kept = [one for one in taken if "error" not in one]
    pieces = f"{len(kept)} piece{'' if len(kept) == 1 else 's'} kept"
    given.show.talk(f"evidence: {pieces}; see: contain evidence files{''.join(f' --mitigation {one}' for one in made)}")
    for one in taken:
        if "error" in one:
            given.show.talk(f"evidence that could not be had: {given.show.text(one['call'])}: {given.show.text(one['error'])}")


def _how(given: Given, one: Mapping[str, Any]) -> str:
    what = given.show.text(one["describe"])
    if one["stage"] == "done":
        return f"done only in part: {what}; {given.show.text(one['short'])}" if one["short"] else f"done: {what}"
    if one["stage"] == "applying":
        return f"under way: {what}; {given.show.text(one['short'])}"
    until = "until somebody lifts it" if one["until"] is None else f"ends {given.show.at(one['until'])}"
    if one["short"]:
        return f"in force only in part: {what}, {until}; {given.show.text(one['short'])}"
    return f"in force: {what}, {until}"
