"""What every command is given: the options that all of them have, and what follows from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli import ask
from agent.cli.ends import Exit, Stop
from agent.cli.show import Show

if TYPE_CHECKING:
    from agent.grammar.config import Config


@dataclass(frozen=True)
class Given:
    """The common options, and the agent, agent.yaml and output that they lead to."""

    json: bool
    no_color: bool
    utc: bool
    no_input: bool
    config: Path | None
    socket: Path | None

    @cached_property
    def show(self) -> Show:
        """Where the answer is printed."""
        return Show.here(json=self.json, colour=not self.no_color, utc=self.utc)

    @property
    def config_path(self) -> Path:
        """The agent.yaml that counts."""
        return ask.config_path(self.config)

    @property
    def socket_path(self) -> Path:
        """Where the agent listens."""
        return ask.socket_path(self.socket, self.config_path)

    def ask(self, verb: str, *, patience: float = ask.PATIENCE, **body: Any) -> dict[str, Any]:
        """The running agent's answer.

        Raises:
            Stop: no agent answers, or it cannot do what was asked.
        """
        return ask.ask(self.socket_path, verb, body, patience)

    def read_config(self) -> Config:
        """The whole agent.yaml, typed.

        Raises:
            Stop: it is not there, or not right.
        """
        from agent.wiring import read_config_file

        path = self.config_path
        if not path.exists():
            mend = "Name one with --config, or have one written for this host: contain init"
            raise Stop(Exit.USAGE, f"cannot read {path}: there is no such file\n{mend}")
        with plainly():
            return read_config_file(path)

    def sure(self, what: str, word: str, *, yes: bool) -> None:
        """Have a person type a word before something dangerous.

        Raises:
            Stop: nobody is there to be asked, or the word was another.
        """
        if yes:
            return
        if self.no_input or not sys.stdin.isatty():
            raise Stop(Exit.WAITS, f"cannot {what} without a person's yes\nAdd --yes if this is meant.")
        self.show.talk(f"This would {what}.")
        typed = click.prompt(f"Type {word} to go on", default="", show_default=False, err=True)
        if typed.strip() != word:
            raise Stop(Exit.WAITS, "Nothing was done.")


@contextmanager
def plainly(*also: type[Exception]) -> Iterator[None]:
    """Say what the outside refused, or ops wrote wrong, as it is, and end the command; anything else is a bug of ours.

    `also` are more exceptions whose text is a sentence with its mend.
    """
    from agent.action import CannotReach
    from agent.grammar.problem import Problems

    expected: tuple[type[Exception], ...] = (CannotReach, *also)
    try:
        yield
    except Problems as problems:
        raise Stop(Exit.USAGE, str(problems)) from problems
    except expected as error:
        raise Stop(Exit.FAILED, str(error)) from error


# Commands with these options ------------------------------------------------------------------------------------------


class Common(click.Option):
    """An option that every command has."""


def _common() -> list[click.Parameter]:
    file = click.Path(path_type=Path)
    return [
        Common(["--json"], is_flag=True, help="Answer with one JSON document; streams with one a line."),
        Common(["--utc"], is_flag=True, help="Times as dates in UTC, never relative."),
        Common(["--no-color"], is_flag=True, help="No colours; $NO_COLOR does the same."),
        Common(["--no-input"], is_flag=True, help="Never ask back; exit with 4 where a person would be asked."),
        Common(["--config"], type=file, metavar="FILE", help="agent.yaml; also $CONTAIN_CONFIG."),
        Common(["--socket"], type=file, metavar="PATH", help="The agent's control socket; also $CONTAIN_SOCKET."),
    ]


_NAMES: Final = tuple(Given.__dataclass_fields__)


class Verb(click.Command):
    """A command with the common options, as a `Given` in its context; its help ends with examples that run."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common()
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        """Run it with a `Given` to pass on."""
        ctx.obj = Given(**{name: ctx.params.pop(name) for name in _NAMES})
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, those of every command, and the examples."""
        for title, common in (("Options", False), ("Options of every command", True)):
            shown = [one for one in self.get_params(ctx) if isinstance(one, Common) is common and isinstance(one, click.Option)]
            if records := [record for one in shown if (record := one.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(records)
        if self.examples:
            with formatter.section("Examples"):
                for one in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}$ {one}\n")


class Noun(click.Group):
    """A group of commands about one thing. Called alone it does what its `alone` command does."""

    command_class = Verb

    def __init__(self, *args: Any, alone: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alone = alone

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a command of this group's, the `alone` one is meant."""
        first = next(iter(args), "")
        helping = first in ("-h", "--help") or ctx.resilient_parsing
        if self.alone and not helping and (not first or first.startswith("-")):
            args = [self.alone, *args]
        return super().parse_args(ctx, args)
