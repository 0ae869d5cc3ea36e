"""A group of commands that is mostly called without one: `contain pause --for 30m` beside `contain pause list`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from agent.cli.given import Noun


class Direct(Noun):
    """A group whose `alone` command is what it is for: its help and its completion know that one's options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """While a shell completes, too, an option in the place of a command is the `alone` one's."""
        if ctx.resilient_parsing and args and args[0].startswith("-"):
            args = [self.alone, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options and examples of the `alone` command, then the other commands."""
        meant = self._meant(ctx)
        meant.command.format_options(meant, formatter)
        self.format_commands(ctx, formatter)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Used as its `alone` command is, or with another."""
        meant = self._meant(ctx)
        others = "|".join(name for name in self.list_commands(ctx) if name != self.alone)
        return [*meant.command.collect_usage_pieces(meant), "|", others]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and the options of the `alone` one."""
        meant = self._meant(ctx)
        return [*super().shell_complete(ctx, incomplete), *meant.command.shell_complete(meant, incomplete)]

    def _meant(self, ctx: click.Context) -> click.Context:
        return click.Context(self.commands[self.alone], parent=ctx, info_name=self.alone)
