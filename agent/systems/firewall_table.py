"""Our table in the kernel: loading it, reading it, writing to it, and knowing which transactions were ours.

What was read is kept, and trusted only while the kernel's generation says that nobody changed anything since. A write is tied
to that generation, so that it never rests on a reading that is out of date.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from agent.action import CannotReach
from agent.kernel import nft
from agent.kernel.netlink import Netlink, Refused
from agent.kernel.netlink_format import Element
from agent.systems import meter, ruleset
from agent.systems.meter import MOST_METERS, Meter
from agent.systems.reading import Held, Reading, Strip, held, read, read_networks, strips
from agent.systems.ruleset import Place
from agent.systems.staging import Item, Order, Stage, encode, orders, replaced, words

_FEW: Final = 16
"""Elements of one set that are cheaper to ask for one by one than by reading the whole set."""
_DEARER: Final = 4
"""How many times more an answer about one element costs than its place in a reading of the whole set."""
_TRIES: Final = 10


class Table:
    """The table `inet containment`. For one thread at a time; every method raises CannotReach where the outside says no."""

    def __init__(self, through: Literal["netlink", "nft"]) -> None:
        self.through = through
        self.ours: deque[int] = deque(maxlen=1024)
        self._opened: Netlink | None = None
        self._reading = Reading()
        self._looked = self._pruned = -math.inf
        self._rules = ""
        self._allowed: frozenset[tuple[str, Strip]] = frozenset()

    # Reading -----------------------------------------------------------------------------------------------------------

    def look(self, fresh: float = 0.0) -> Reading:
        """The table as it is, or as it was at most `fresh` seconds ago; read only where the generation moved."""
        now = time.monotonic()
        if now - self._looked < fresh:
            return self._reading
        if self._kernel().generation() != self._reading.generation:
            self._reading, self._pruned = read(self._kernel(), now), now
        elif now - self._pruned > 60:
            self._reading.prune(now)
            self._pruned = now
        self._looked = now
        return self._reading

    def forget(self) -> None:
        """Read anew at the next look."""
        self._reading.generation, self._looked = None, -math.inf

    def sound(self, reading: Reading) -> bool:
        """Whether the rules that read our sets are as we loaded them; a process that loaded none takes those that are there."""
        if reading.comment != ruleset.OWNER or reading.dormant or not reading.chains:
            return False
        return not self._rules or (reading.rules == self._rules and reading.allowed == self._allowed)

    def there(self, name: str, keys: set[bytes]) -> set[bytes]:
        """Those keys that the kernel holds at this moment; a network counts when all its pieces are there too."""
        reading = self._reading
        if name not in reading.sets:
            return set()
        if name.startswith("asked"):
            read_networks(self._kernel(), reading, ruleset.group(name), time.monotonic())
            return {key for key in keys if reading.holds(Place(name, key))}
        if len(keys) * _DEARER < len(reading.ends.get(name, ())):
            return self._kernel().among(name, keys)
        return keys & self._kernel().keys(name)

    def held(self) -> list[Held]:
        """Everything in force, with its counters."""
        reading = self.look()
        return held(self._kernel(), reading) if reading.comment == ruleset.OWNER else []

    def check(self) -> None:
        """Raise where the agent cannot write the table, with the reason and the mend."""
        if nft.find() is None:
            raise CannotReach(nft.missing())
        _refuse_another(self._kernel().table())

    # Loading -----------------------------------------------------------------------------------------------------------

    def require(self, needed: Iterable[Meter] = ()) -> set[Meter]:
        """Load the rules where this process has not, where they are not as it loaded them, or lack a limit.

        Returns the limits that there is no room for.
        """
        reading = self.look()
        lacking = [one for one in dict.fromkeys(needed) if any(name not in reading.sets for name in one.sets())]
        if not lacking and self._rules and self.sound(reading):
            return set()
        room = MOST_METERS - len(_alive(reading))
        self._load(set(lacking[:room]))
        self._allow()
        return set(lacking[room:])

    def tidy(self) -> None:
        """Remove the chains and sets of limits that ended."""
        reading = self.look()
        alive = _alive(reading)
        if any(one not in alive for name in reading.sets if (one := Meter.named(name))):
            self._load(set())

    def protect(self, allowed: frozenset[tuple[str, Strip]]) -> None:
        """Set what no block may cover; a table that is not loaded yet gets it when it is."""
        self._allowed = allowed
        if self._rules and self.look().comment == ruleset.OWNER:
            self._allow()

    def _load(self, needed: set[Meter]) -> None:
        """Replace the rules in one transaction; the elements stay, and so what is blocked is blocked at every moment."""
        for _ in range(_TRIES):
            reading = self.look()
            _refuse_another(None if reading.comment is None else (0, reading.comment))
            live = sorted(needed | _alive(reading), key=lambda one: one.name)
            lines, chains = meter.text(live, reading.sets)
            self._run(ruleset.text(reading.chains, lines, chains))
            if self._reading.generation is not None:  # nobody else was there: what is there now is what we loaded
                generation, self._reading = self._reading.generation, read(self._kernel(), time.monotonic())
                if self._reading.generation == generation:
                    self._rules = self._reading.rules
                    return
        raise CannotReach("cannot load the ruleset: somebody else keeps changing it; see `contain doctor`, or `nft monitor`")

    def _allow(self) -> None:
        """Make the belt as it was last asked for."""
        for _ in range(_TRIES):
            reading = self.look()
            if reading.allowed == self._allowed:
                return
            wanted = [Order(name, add, []) for name in ("allow4", "allow6") for add in (False, True)]
            for order in wanted:
                order.items.extend(Item(strip) for name, strip in sorted(self._allowed) if order.add and name == order.set)
            try:
                self.commit([order for order in wanted if order.items or not order.add], reading.generation)
            except Refused as error:
                if not error.outdated:
                    raise
            self.forget()
        raise CannotReach("cannot protect the life-lines in the kernel: somebody else keeps changing the ruleset")

    # Writing -----------------------------------------------------------------------------------------------------------

    def orders(self, made: Stage, now: float, *, sure: bool) -> list[Order]:
        """What to write; the counters of what is replaced go on from where they stand."""
        counts: dict[tuple[str, bytes | Strip], tuple[int, int]] = {}
        counted: dict[Any, Element]
        for name, keys in replaced(made, self._reading).items():
            if isinstance(keys[0], Strip):
                counted = dict(strips(name, self._kernel().dump(name)))
            elif len(keys) > _FEW:
                counted = {one.key: one for one in self._kernel().dump(name)}
            else:
                counted = {key: one for key in keys if (one := self._kernel().get(name, key))}
            counts |= {(name, key): (one.packets, one.size) for key in keys if (one := counted.get(key)) and one.packets}
        return orders(made, self._reading, now, counts, sure=sure)

    def commit(self, written: Sequence[Order], generation: int | None) -> None:
        """One transaction; with `generation`, only while the ruleset is still that one."""
        if self.through == "nft":
            self._run("".join(words(order) + "\n" for order in written))
            return
        self._kernel().transact([encode(order) for order in written], generation)
        self._reading.generation = None
        if generation is not None:
            self._own(generation)

    def _run(self, script: str) -> None:
        before = self._kernel().generation()
        nft.run(script)
        self._reading.generation = None
        if self._kernel().generation() == _next(before):  # else somebody else was there, and theirs may be any of them
            self._own(before)

    def _own(self, before: int) -> None:
        """The transaction after this generation was ours, and the reading can be brought along."""
        self._reading.generation = _next(before)
        self.ours.append(_next(before))

    def _kernel(self) -> Netlink:
        if self._opened is None:
            self._opened = Netlink(ruleset.TABLE)
        return self._opened


def _next(generation: int) -> int:
    """The kernel counts in 32 bits and leaves out 0."""
    return generation + 1 & 0xFFFFFFFF or 1


def _alive(reading: Reading) -> set[Meter]:
    now = time.monotonic()
    return {
        one for name, keys in reading.ends.items() if any(ends > now for ends in keys.values()) and (one := meter.switch(name))
    }


def _refuse_another(table: tuple[int, str] | None) -> None:
    if table is not None and table[1] != ruleset.OWNER:
        raise CannotReach(
            f"cannot use the table `inet {ruleset.TABLE}`: it is there, and not ours (its comment is not `{ruleset.OWNER}`); "
            f"rename it, or remove it: nft delete table inet {ruleset.TABLE}"
        )
