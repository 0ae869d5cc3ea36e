"""An agent in a process of its own: fences a PostgreSQL server, lifts the fence, and prints what came of both, as JSON.

python -m tests.fencing <connection string> [<user to run as>]
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from contextlib import closing
from importlib import import_module

from actions.stop_writes import StopWrites
from agent.action import CannotReach
from agent.schema import Ttl
from agent.systems.postgres import Postgres
from tests.postgres import planned, run, take_back

FENCE = StopWrites(ttl=Ttl(None), strength="fence")


def main(dsn: str, user: str = "root") -> None:
    import_module("psycopg")  # now: as somebody else it may be out of reach
    with closing(Postgres({"main": dsn})) as postgres:
        postgres.keep()
        if user != "root":
            known = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(known.pw_gid)
            os.setuid(known.pw_uid)
        try:
            (change,) = planned(postgres, FENCE)
        except CannotReach as error:
            sys.stdout.write(json.dumps({"refused": str(error)}))
            return
        plan, outcomes = run(postgres, FENCE)
        standby = postgres.standby("main")
        said = {
            "describe": change.describe,
            "touches": change.touches,
            "native": postgres.native(change.apply),
            "applied": [(one.result, one.error) for one in outcomes],
            "standby": (standby, planned(postgres, FENCE)),
            "lifted": take_back(postgres, plan),
            "after": postgres.standby("main"),
        }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
