"""Every command by name. A command's module is imported when it is called, so that `contain status` starts at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, cast

import click

from agent import __version__

_SECTIONS: Final = {
    "See": {
        "status": ("status", "What is wrong, what is in force, who has paused what."),
        "why": ("why", "Everything known about one address, incident or mitigation."),
        "incidents": ("incidents", "Incidents: list, show, assign, severity, merge, resolve, close, and more."),
        "postmortem": ("postmortem", "The report of an incident, and people's parts of it."),
        "mitigations": ("mitigations", "Mitigations: list, show."),
        "events": ("events", "What the agent saw: list, tail, kinds, show."),
        "alerts": ("alerts", "What other tools say fires now."),
        "approvals": ("approvals", "What waits for a person's yes."),
        "notify": ("notify", "Ways to people: what waits to be told, and whether each works."),
        "baseline": ("baseline", "Watched files: what differs from what is right, and accepting it."),
        "check": ("check", "Health checks: run them now, list them."),
        "metrics": ("metrics", "The agent's numbers for Prometheus."),
    },
    "Act": {
        "ack": ("incidents", "Say that you are on it; nobody else is woken for it."),
        "note": ("incidents", "Write a sentence into an incident's timeline."),
        "report": ("report", "Tell of what no sensor sees; it opens an incident at once."),
        "block": ("block", "Drop every packet from an address or network."),
        "limit": ("limit", "Limit how many requests or packets each address may send."),
        "do": ("do", "Carry out any action, or show what it would do."),
        "undo": ("undo", "Lift mitigations."),
        "confirm": ("confirm", "Have stay what takes itself back unless a person says so."),
        "approve": ("approvals", "Say yes to what waits for a person, in your own name."),
        "deny": ("approvals", "Say no to it."),
        "list": ("lists", "Who is never touched, who is left alone: add, remove, show, check."),
        "pause": ("pause", "No policy acts for a while; what is in force stays."),
        "resume": ("pause", "End a pause now, and see what was not done."),
        "silence": ("silence", "Tell nobody of what is known, for a while; actions go on."),
    },
    "Run and set up": {
        "run": ("run", "Run the agent in the foreground."),
        "init": ("init", "Look at this host and write an agent.yaml for it."),
        "doctor": ("doctor", "Look for what keeps the agent from working."),
        "config": ("config", "Every setting that holds, and where it comes from."),
        "support-bundle": ("support_bundle", "One file for those who help, without secrets."),
        "reload": ("order", "Read the policies and agent.yaml again."),
        "grants": ("grants", "What the agent needs to be granted in PostgreSQL and Vault, ready to run."),
        "import": ("import_", "Reports of scanners: trivy, grype, sarif."),
        "policy": ("policy", "Policies: check, prove, test, explain, schema, list, mode."),
        "evidence": ("evidence", "The record of everything: verify, export, show, files."),
        "web": ("web", "The web pages: a link that logs you in once."),
        "completion": ("completion", "Completion for bash, zsh or fish."),
    },
}

UNLISTED: Final = {"expire": "expire", "restore": "restore"}
"""What systemd calls, and hardly ever a person."""


class _Root(click.Group):
    """Finds commands in the table above; each is the function of its name in agent/cli/<module>.py."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = {name: click.Command(name) for name in self.list_commands(None)}  # for `did you mean` alone

    def list_commands(self, ctx: click.Context | None) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in the order of the help."""
        return [name for commands in _SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """A command, imported now."""
        if name in UNLISTED:
            return cast("click.Command", getattr(import_module(f"agent.cli.{UNLISTED[name]}"), name))
        for commands in _SECTIONS.values():
            if name in commands:
                module = import_module(f"agent.cli.{commands[name][0]}")
                name = name.replace("-", "_")
                return cast("click.Command", getattr(module, name if hasattr(module, name) else f"{name}_"))
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The commands in sections, from the table alone."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, about) for name, (_, about) in commands.items()])


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="`contain COMMAND --help` has an example of each. Begin with `contain init`, then `contain run`.",
)
@click.version_option(__version__, prog_name="containment-agent", message="%(prog)s %(version)s")
def contain() -> None:
    """Watch this host, decide by policies, contain, and prove every step."""
