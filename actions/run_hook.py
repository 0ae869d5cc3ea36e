"""Run a hook of this host's own once: a rollback, a restore, a failover."""

from __future__ import annotations

from typing import Annotated

from agent.action import Change, action
from agent.schema import About
from agent.systems.hooks import Hooks


@action(impact="destructive")
class RunHook:
    """Run a program that agent.yaml names under `hooks`, with the arguments written there; it cannot be taken back.

    Nothing of an event ever reaches it. It waits for a person, unless the policy says `approve: never` and two sources speak
    for it. Its exit status decides, and its last words are kept; killed with all it started when its time is over.
    """

    hook: Annotated[str, About("its name under `hooks` of agent.yaml", "rollback-shop")]

    def plan(self, hooks: Hooks) -> list[Change]:
        """One change, always: a run is never there already."""
        one, number = hooks.hook(self.hook), hooks.next_run(self.hook)
        who = f" as {one.user}" if one.user else ""
        return [
            Change(
                describe=f"run the hook {self.hook}{who} (its run {number}): {' '.join(one.run)}",
                apply=hooks.run(hook=self.hook, number=number, digest=one.digest),
                undo=None,
                verify=hooks.ran(hook=self.hook, number=number),
                touches=(f"hook {self.hook}",),
            )
        ]
