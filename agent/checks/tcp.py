"""Does a TCP port accept connections?"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, Port, rough, spell
from agent.systems.cut_off import cut_off
from agent.systems.dial import Refused, dial


@check
class Tcp:
    """A TCP port accepts connections and, where asked to, answers `send` with something that holds `expect`."""

    host: Annotated[str, About("its name or address", "127.0.0.1")]
    port: Annotated[Port, About("its port", "5432")]
    send: Annotated[str, About("text that is sent after the connection is there", "PING")] = ""
    expect: Annotated[str, About("text that the answer must hold", "PONG")] = ""
    within: Annotated[Duration, About("bad where it does not answer in time, as in 3s")] = timedelta(seconds=3)

    def ask(self) -> Answer:
        """Connect; the value is the seconds it took."""
        target = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        started = time.perf_counter()
        try:
            self._converse()
        except Refused as error:
            return bad(f"{target} does not answer as it should: {error}", target=target)
        took = time.perf_counter() - started
        return good(f"{target} answers ({rough(timedelta(seconds=took))})", value=took, target=target)

    def _converse(self) -> None:
        with dial(self.host, self.port, self.within) as wire:
            if not (self.send or self.expect):  # that it took the connection is the answer
                return
            heard = b""
            try:
                with cut_off(wire.fileno(), self.within):
                    wire.sendall(self.send.encode())
                    while self.expect.encode() not in heard and len(heard) < 4096:
                        more = wire.recv(4096)
                        if not more:
                            raise Refused(f"it ended the connection without `{self.expect}`")
                        heard += more
            except TimeoutError as error:  # of one read, or of all
                raise Refused(f"no answer within {spell(self.within)}") from error
            except OSError as error:
                raise Refused(error.strerror or str(error)) from error
        if self.expect.encode() not in heard:
            raise Refused(f"`{self.expect}` is not in its first 4,096 bytes")
