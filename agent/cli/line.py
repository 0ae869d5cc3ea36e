"""Run one command, and turn the way it ended into text and an exit code."""

from __future__ import annotations

import os
import sys

import click

from agent.cli.commands import contain
from agent.cli.ends import Exit, Stop
from agent.visible import visible


def run() -> int:
    """Run the command line of this process; returns the exit code."""
    try:
        code = contain.main(prog_name="contain", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.UsageError as error:
        click.echo(_misused(error), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.FAILED
    except click.Abort:
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except Stop as stop:
        sys.stdout.flush()
        if stop.text:
            click.echo("\n".join(map(visible, stop.text.splitlines())), err=True)
        return stop.code
    except BrokenPipeError:  # `contain events list | head`: nobody reads on; click ends larger answers the same way
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return int(code or Exit.DONE)


def _misused(error: click.UsageError) -> str:
    """What is wrong with the command line, and how the command is used."""
    path = error.ctx.command_path if error.ctx else "contain"
    message = error.format_message()
    examples = getattr(error.ctx.command, "examples", ()) if error.ctx else ()
    mend = f"Example: {examples[0]}\n" if examples else ""
    return f"cannot run `{path}`: {message[:1].lower()}{message[1:]}\n{mend}Help: {path} --help"
