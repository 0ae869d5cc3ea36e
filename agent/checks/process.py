"""Do as many processes run as should?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Any

from agent.check import Answer, bad, check, good
from agent.grammar.pattern import LONGEST_TEXT, ForText
from agent.schema import About


@check
class Process:
    """As many processes run as should. `name`, `pid_file`, `user` and a pattern in `cmdline` say which; all given must fit.

    A zombie does not count: it has ended. Of a command line, the first 4,096 characters are searched: anybody may start a
    process with two million of them.
    """

    name: Annotated[str, About("the name of the program, as ps shows it", "nginx")] = ""
    pid_file: Annotated[str, About("a file with its process id", "/run/nginx.pid")] = ""
    user: Annotated[str, About("the user that it runs as", "www-data")] = ""
    cmdline: Annotated[
        ForText | None, About("a regular expression that must be found in its command line", '"gunicorn .*shop"')
    ] = None
    at_least: Annotated[int, About("bad where fewer run", "1")] = 1
    at_most: Annotated[int | None, About("bad where more run; as many as like where nothing is said", "8")] = None

    def __post_init__(self) -> None:
        if not (self.name or self.pid_file or self.user or self.cmdline):
            raise ValueError("say which process: name, pid_file, user or cmdline")

    def ask(self) -> Answer:
        """Count them; the value is their number."""
        count = sum(self._fits(one) for one in self._candidates())
        target = self.name or self.pid_file or (self.cmdline.pattern if self.cmdline else self.user)
        say = f"{count} {'process runs' if count == 1 else 'processes run'} as {target}"
        if count < self.at_least:
            return bad(f"{say}, at least {self.at_least} should", value=count, limit=self.at_least, target=target)
        if self.at_most is not None and count > self.at_most:
            return bad(f"{say}, at most {self.at_most} should", value=count, limit=self.at_most, target=target)
        return good(say, value=count, limit=self.at_least, target=target)

    def _candidates(self) -> Iterable[dict[str, Any]]:
        import psutil

        asked = ["status", "name"] + ["username"] * bool(self.user) + ["cmdline"] * bool(self.cmdline)
        if not self.pid_file:
            return (one.info for one in psutil.process_iter(asked))
        try:
            with open(self.pid_file, encoding="ascii", opener=_at_once) as file:
                return [psutil.Process(int(file.read(32))).as_dict(asked)]
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):  # gone, half written, or left over
            return []

    def _fits(self, info: dict[str, Any]) -> bool:
        return (
            info["status"] != "zombie"
            and self.name in ("", info["name"])
            and self.user in ("", info.get("username"))
            and (self.cmdline is None or self.cmdline.search(" ".join(info["cmdline"] or ())[:LONGEST_TEXT]) is not None)
        )


def _at_once(path: str, flags: int) -> int:
    """The file is the service's: where it is a pipe, opening it would wait for ever."""
    return os.open(path, flags | os.O_NONBLOCK)
