"""A tree of facts as the clauses of a policy: what `match` says of each field, and what `unless` leaves alone.

The two ways of saying no differ on absent fields: to Sigma, `not` is true of a field that is not there; our tests, `not:` among
them, are false of it. So what is denied of every case alike goes to `unless`, which is exact; and elsewhere a clause of its own
says that the field is absent, unless it never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from agent.grammar.located import Place
from agent.grammar.pattern import glob, regular
from agent.sigma.facts import MOST_CLAUSES, Cannot, Case, Compares, Fact, Fits, Inside, Is, OneOf, There, Tree, cases, too_many
from agent.sigma.texts import Wanted, all_of, searched

Lines = dict[str, Any]
"""A field map: a value, a list of values, or operators with their operands."""
_FLIPPED: Final = {"gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt"}
_TIGHTEST: Final[Mapping[str, Callable[[Iterable[Any]], Any]]] = {"gt": max, "gte": max, "lt": min, "lte": min}
_WIDEST: Final[Mapping[str, Callable[[Iterable[Any]], Any]]] = {"gt": min, "gte": min, "lt": max, "lte": max}


@dataclass(frozen=True)
class Selected:
    """Field maps of which any one is enough, where no line of `unless` holds."""

    matches: tuple[Lines, ...]
    unless: Lines


def selected(tree: Tree, there: frozenset[str], place: Place, *, spares: bool) -> Selected:
    """The tree as field maps. `there` are fields that no event in question lacks; `spares` says whether `unless` may be used.

    Raises:
        Cannot: it cannot be said in our grammar, or not in as many clauses as anybody would read.
    """
    every = cases(tree, place)
    common = frozenset[Fact].intersection(*every) if every and spares else frozenset[Fact]()
    spared = frozenset(one for one in common if one.denied and not isinstance(one.what, There))
    found: list[Lines] = []
    for case in every:
        found += _maps(case - spared, there)
        if len(found) > MOST_CLAUSES:
            raise too_many(place)
    if not found:
        raise Cannot(place, "this can never be true", "look at the selections that exclude each other")
    kept = [one for at, one in enumerate(found) if one not in found[:at]]
    return Selected(tuple([{}] if {} in kept else kept), _spared(spared))


def _maps(case: Case, there: frozenset[str]) -> list[Lines]:
    """One case as field maps; several where a field that is denied something may be absent."""
    by_field: dict[str, list[Fact]] = {}
    for fact in sorted(case, key=lambda one: (one.place.line, one.place.column, one.field, one.denied)):
        by_field.setdefault(fact.field, []).append(fact)
    each = [_alternatives(name, facts, name in there) for name, facts in by_field.items()]
    count = 1
    for one in each:
        count *= len(one)
    if count > MOST_CLAUSES:
        raise too_many(next(iter(case)).place)
    return [dict(zip(by_field, one, strict=True)) for one in product(*each)]


def _alternatives(name: str, facts: Sequence[Fact], there: bool) -> list[Any]:
    absent = any(one.denied and isinstance(one.what, There) for one in facts)
    needed = any(not one.denied for one in facts)
    if absent:
        return [] if needed else [{"exists": False}]
    tests = _tests(name, facts)
    present = [] if tests is None else [tests]
    return present if needed or there else [*present, {"exists": False}]


# match --------------------------------------------------------------------------------------------------------------------


def _tests(name: str, facts: Sequence[Fact]) -> Any | None:
    """What `match` says of a field that is there; None where nothing can be all of it."""
    yes = [one.what for one in facts if not one.denied and not isinstance(one.what, There)]
    no = [one.what for one in facts if one.denied]
    place = facts[0].place
    wanted = [one.values for one in yes if isinstance(one, OneOf)]
    values = frozenset[Any].intersection(*wanted) if wanted else None
    if values is not None and not values:
        return None
    operators: Lines = {"in": _listed(values)} if values else {}
    if unwanted := frozenset[Any]().union(*(one.values for one in no if isinstance(one, OneOf))):
        operators["not"] = _listed(unwanted)
    operators |= _compared(yes, no)
    operators |= _networks(name, yes, no, place)
    operators |= _texts(name, yes, no, place, operators)
    return _short(operators or {"exists": True})


def _compared(yes: Sequence[Is], no: Sequence[Is]) -> Lines:
    """Denying `gt` of a number that is there is `lte`."""
    found: dict[str, list[Any]] = {}
    for one in yes:
        if isinstance(one, Compares):
            found.setdefault(one.operator, []).append(one.number)
    for one in no:
        if isinstance(one, Compares):
            found.setdefault(_FLIPPED[one.operator], []).append(one.number)
    return {operator: _TIGHTEST[operator](numbers) for operator, numbers in found.items()}


def _networks(name: str, yes: Sequence[Is], no: Sequence[Is], place: Place) -> Lines:
    inside = [one for one in yes if isinstance(one, Inside)]
    if len(inside) > 1 or any(isinstance(one, Inside) for one in no):
        hint = "networks can be left out only by a filter that the whole condition excludes: … and not filter"
        raise Cannot(place, f"`{name}` in and out of networks cannot be said in one clause", hint)
    return {"cidr": sorted(map(str, inside[0].networks))} if inside else {}


def _texts(name: str, yes: Sequence[Is], no: Sequence[Is], place: Place, taken: Lines) -> Lines:
    fits = [one.ways for one in yes if isinstance(one, Fits)]
    denied = [one.ways for one in no if isinstance(one, Fits)]
    found: Lines = {}
    for ways in fits:
        operator, operand = _text(ways)
        if operator in found or operator in taken or denied:
            found = {"re": all_of(fits, denied)}
            break
        found[operator] = operand
    if denied and not fits:
        found = {"re": all_of((), denied)}
    _allowed(name, found, place)
    return found


def _text(ways: tuple[Wanted, ...]) -> tuple[str, str]:
    """The operator of ours that says it as plainly as can be, and its operand."""
    plain = ways[0].plain if len(ways) == 1 else None
    return plain if plain and plain[0] != "is" else ("re", searched(ways))


def _allowed(name: str, operators: Lines, place: Place) -> None:
    try:
        if "re" in operators:
            regular(operators["re"])
        if "glob" in operators:
            glob(operators["glob"])
    except ValueError as error:
        reason, _, hint = str(error).partition("; ")
        raise Cannot(place, f"what is asked of `{name}` is too much for one expression: {reason}", hint) from None


def _listed(values: frozenset[Any]) -> list[Any]:
    return sorted(values, key=lambda one: (str(type(one)), one))


def _short(operators: Lines) -> Any:
    """`is` and `in` as they are written: without their operator where they stand alone."""
    wanted = operators.get("in")
    if wanted is None:
        return operators
    one = wanted if len(wanted) > 1 else wanted[0]
    if len(operators) == 1:
        return one
    rest = {key: value for key, value in operators.items() if key != "in"}
    return {"in": wanted, **rest} if len(wanted) > 1 else {"is": one, **rest}


# unless -------------------------------------------------------------------------------------------------------------------


def _spared(facts: frozenset[Fact]) -> Lines:
    """Any of these, of any field, is enough to leave an event alone."""
    by_field: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda one: (one.place.line, one.place.column)):
        by_field.setdefault(fact.field, []).append(fact)
    return {name: _short(_any_of(name, facts)) for name, facts in by_field.items()}


def _any_of(name: str, facts: Sequence[Fact]) -> Lines:
    whats = [one.what for one in facts]
    found: Lines = {}
    if values := frozenset[Any]().union(*(one.values for one in whats if isinstance(one, OneOf))):
        found["in"] = _listed(values)
    if networks := frozenset[Any]().union(*(one.networks for one in whats if isinstance(one, Inside))):
        found["cidr"] = sorted(map(str, networks))
    numbers: dict[str, list[Any]] = {}
    for one in whats:
        if isinstance(one, Compares):
            numbers.setdefault(one.operator, []).append(one.number)
    found |= {operator: _WIDEST[operator](several) for operator, several in numbers.items()}
    if ways := tuple(dict.fromkeys(way for one in whats if isinstance(one, Fits) for way in one.ways)):
        operator, operand = _text(ways)
        found[operator] = operand
        _allowed(name, found, facts[0].place)
    return found
