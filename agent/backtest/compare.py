"""What is different between two accounts: targets that are new or lost, and what is done otherwise about the others. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from agent.backtest.account import Account

What = Literal["new", "lost", "changed"]


class Difference(NamedTuple):
    """One target of one policy; `before` and `after` say what came of it, empty where nothing did."""

    what: What
    policy: str
    target: str
    before: str
    after: str


def differences(before: Account, after: Account) -> list[Difference]:
    """Every difference, by policy and target. How often, and when, is none."""
    found = []
    for policy, target in sorted({**before.targets, **after.targets}):
        was, comes = (account.targets.get((policy, target)) for account in (before, after))
        old, new = was.says() if was else (), comes.says() if comes else ()
        if old != new:
            what: What = "changed" if was and comes else "new" if comes else "lost"
            found.append(Difference(what, policy, target, "; ".join(old), "; ".join(new)))
    return found
