"""A PostgreSQL server fenced whole: restarted as a standby that follows nobody, so that it replays nothing and nobody writes.

Only a superuser gets out, by pg_promote(). It is lifted by taking standby.signal away and restarting once more, and not by
pg_promote(): the server goes on in the timeline that it had, as if it had only been restarted, where every promotion would begin
a new one that replicas, archives and backups have to follow. And whoever stole the agent's login could make a second primary of
any standby with the right to promote.
"""

from __future__ import annotations

import time
from typing import Final, NoReturn

from agent.action import CannotReach, Holds, InProgress, call, slow
from agent.systems import postgres_signal
from agent.systems.postgres_fit import FOLLOW, Cluster, PostgresFit
from agent.systems.postgres_host import RESTART, Postmaster, find, restart, runs

_UP: Final = 5.0
"""Seconds in which a server that was restarted lets us in."""
_BUSY: Final = ("starting up", "shutting down", "not yet accepting connections")


class PostgresStandby(PostgresFit):
    """The fence by standby.signal, for an agent on the server's own host."""

    def fenced_whole(self, instance: str, cluster: Cluster) -> bool:
        """Whether our fence is in force, whole.

        Raises:
            CannotReach: as in `rows`.
        """
        return self._stands(instance, cluster) is True

    def _stands(self, instance: str, cluster: Cluster) -> bool | Holds:
        found = postgres_signal.look(cluster.directory)
        try:
            seen = self.seen(instance)
        except CannotReach as error:
            return _without_answer(cluster, found, error)
        if (seen.system, seen.directory) != (cluster.system, cluster.directory):
            return Holds("no", f"PostgreSQL {instance} is another server now, with its data in {seen.directory}")
        if seen.timeline != cluster.timeline:
            return Holds("no", f"somebody has promoted it: timeline {cluster.timeline} has become {seen.timeline}")
        if found not in (None, cluster.mark):
            return Holds("no", f"{cluster.signal} is there, and not from this fence")
        if found:
            late = f"{postgres_signal.NAME} is there, and the server has not been restarted: everybody writes"
            return True if seen.standby else Holds("partly", late)
        if seen.standby:
            return Holds("partly", f"{postgres_signal.NAME} is gone: nobody can write until the next restart")
        half = f"{postgres_signal.NAME} was being made, and is not there yet"
        return Holds("partly", half) if postgres_signal.half_made(cluster.directory) else False

    # The fence ----------------------------------------------------------------------------------------------------

    @call
    @slow(RESTART + 4 * _UP)
    def make_standby(self, instance: str, cluster: Cluster) -> None:
        """Leave standby.signal in the data directory, and restart the server.

        Raises:
            CannotReach: as in `refuse_unfit`; or somebody has changed it since it was planned for.
        """
        cannot = f"cannot fence PostgreSQL {instance}"
        stands = self._stands(instance, cluster)
        if stands is True:
            return
        if isinstance(stands, Holds) and stands.how == "no":
            raise CannotReach(f"{cannot}: {stands.say}; plan it anew")
        seen = self.seen(instance)
        if seen.standby:  # somebody has taken the file away
            postgres_signal.put(cluster.directory, cluster.mark)
            return
        self.refuse_unfit(instance, cluster)
        server = find(cannot, seen.directory, seen.backend)
        if postgres_signal.look(cluster.directory) is None:
            postgres_signal.put(cluster.directory, cluster.mark)
        try:
            self._restart(cannot, instance, server)
        except InProgress:
            raise
        except CannotReach as error:
            if runs(cluster.directory):
                raise
            _start_again(cannot, cluster, server, error)

    @call
    @slow(RESTART + 2 * _UP + FOLLOW.total_seconds())
    def end_standby(self, instance: str, cluster: Cluster, replicas: tuple[str, ...]) -> None:
        """Take our standby.signal away, and restart the server if it runs as a standby.

        Raises:
            CannotReach: it would not come up again, or one of `replicas` may be a primary by now.
        """
        cannot = f"cannot lift the fence of PostgreSQL {instance}"
        stands = self._stands(instance, cluster)
        if stands is False or (isinstance(stands, Holds) and stands.how == "no"):
            return
        seen = self.seen(instance) if runs(cluster.directory) else None
        if not seen or not seen.standby:  # whoever stopped it starts it
            postgres_signal.take(cluster.directory, cluster.mark)
            return
        server = find(cannot, seen.directory, seen.backend)
        self.refuse_unliftable(instance, server, replicas)
        postgres_signal.take(cluster.directory, cluster.mark)
        self._restart(cannot, instance, server)

    def _restart(self, cannot: str, instance: str, server: Postmaster) -> None:
        restart(cannot, server)
        until = time.monotonic() + _UP
        while True:
            try:
                self.row("select 1 as one", instance=instance)  # the kept connection, opened anew
            except CannotReach as error:
                if time.monotonic() > until:
                    raise CannotReach(f"{cannot}: it does not answer after {server.said}: {error}") from error
                time.sleep(0.05)
            else:
                return

    @call
    def is_standby(self, instance: str, cluster: Cluster) -> bool | Holds:
        """Whether the server is a standby by our standby.signal."""
        return self._stands(instance, cluster)


def _without_answer(cluster: Cluster, found: str | None, error: CannotReach) -> Holds:
    """What the data directory alone says. That there is nothing of ours says nothing of a server that is down."""
    if any(one in str(error) for one in _BUSY):
        raise InProgress(str(error)) from error
    if found != cluster.mark or runs(cluster.directory):
        raise error
    return Holds("partly", f"the server does not run; it will be a standby when it does ({postgres_signal.NAME} is there)")


def _start_again(cannot: str, cluster: Cluster, server: Postmaster, why: CannotReach) -> NoReturn:
    """Our restart has left the server down: rather no fence than nothing to read."""
    postgres_signal.take(cluster.directory, cluster.mark)
    try:
        restart(cannot, server)
    except InProgress:
        raise
    except CannotReach as error:
        raise CannotReach(f"{error}; it is down now, and not fenced: start it by hand") from why
    raise CannotReach(f"{why}; it was started again without the fence") from why


NATIVE: Final = {
    "make_standby": """
echo '{mark}' > {signal}
{restart}
""",
    "end_standby": """
rm {signal}  # if still ours, and all replicas follow
{restart}
""",
    "is_standby": "SELECT pg_is_in_recovery();  -- true, by our {signal}",
}
"""Each verb as a person would do it, for the dry run."""
