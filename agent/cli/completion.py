"""`contain completion`: the script that completes commands, options and names in a shell."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from agent.cli import ask
from agent.cli.ends import Exit, Stop
from agent.cli.given import Verb

SECOND = 1.0
"""How long completing a name may ask the agent; whoever types does not wait longer."""


@click.command(cls=Verb, examples=("contain completion bash > contain.bash", "contain completion fish"))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: contain completion bash > /etc/bash_completion.d/contain
    zsh:  contain completion zsh > "${fpath[1]}/_contain"
    fish: contain completion fish > ~/.config/fish/completions/contain.fish
    """
    from agent.cli.commands import contain

    made = get_completion_class(shell)
    if made is None:
        raise Stop(Exit.FAILED, f"cannot complete for {shell}: this version of click does not know it")
    click.echo(made(contain, {}, "contain", "_CONTAIN_COMPLETE").source())


# Names that only the running agent knows ------------------------------------------------------------------------------


class Name(click.ParamType[str]):
    """A name that the agent completes: `verb` is the question, `key` what of each item. Any text is taken as it is."""

    name = "name"

    def __init__(self, verb: str, *keys: str, also: tuple[str, ...] = ()) -> None:
        self.verb, self.keys, self.also = verb, keys, also

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Names that begin like this; none where the agent does not answer within a second."""
        place = ask.socket_path(ctx.params.get("socket"), ask.config_path(ctx.params.get("config")))
        try:
            items = ask.ask(place, self.verb, {}, patience=SECOND).get("items", [])
        except Stop:
            items = []
        names = dict.fromkeys([*(str(one.get(key, "")) for one in items for key in self.keys), *self.also])
        return [CompletionItem(one) for one in names if one and one.startswith(incomplete)]
