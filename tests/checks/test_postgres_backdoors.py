"""PostgresBackdoors: are there objects through which somebody could come back?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.checks.postgres_backdoors import PostgresBackdoors
from agent.systems.postgres import Postgres
from tests.checks.asking import answers, the_answer
from tests.checks.waiting import once
from tests.postgres import Server

DEFINER = "create function {name}() returns int language sql security definer as 'select 1'"
OBJECTS = {
    "event trigger spy": (
        "create function public.seen() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger spy on ddl_command_end execute function public.seen()",
    ),
    "function public.open()": (DEFINER.format(name="public.open"),),
    "function public.many(integer[],text[])": (
        "create function public.many(integer[], text[]) returns int language sql security definer as 'select 1'",
    ),
    "function containment.extra()": (DEFINER.format(name="containment.extra"),),
    "extension file_fdw": ("create extension file_fdw",),
    "publication all_of_it": ("create publication all_of_it for all tables",),
    "subscription theirs": (
        "create subscription theirs connection 'host=127.0.0.1 port=1' publication p with (connect = false, slot_name = none)",
    ),
    "library spying.so": ("alter role app set session_preload_libraries = 'spying.so'",),
    "library $libdir/auto_explain": (
        "alter system set session_preload_libraries = '$libdir/auto_explain'",  # one that is missing would let nobody in
        "select pg_reload_conf()",
    ),
    "language loose": ("create language loose handler plpgsql_call_handler",),
}


@pytest.fixture
def server(postgres_server: Server) -> Iterator[Server]:
    yield postgres_server
    postgres_server.run(
        "alter system reset all",
        "select pg_reload_conf()",
        "alter role app reset all",
        "drop event trigger if exists spy",
        "drop function if exists public.seen, public.open, public.many, containment.extra",
        "drop extension if exists file_fdw",
        "drop publication if exists all_of_it",
        "drop subscription if exists theirs",
        "drop language if exists loose",
    )


def test_a_database_as_it_is_made_is_good_with_the_agents_own_functions_in_it(server: Server, postgres: Postgres) -> None:
    answer = the_answer(PostgresBackdoors(), postgres=postgres)

    assert (answer.state, answer.target) == ("good", "main")
    assert server.value("select count(*) from pg_proc where pronamespace = 'containment'::regnamespace and prosecdef") > 3


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_bad_until_it_is_allowed(server: Server, postgres: Postgres, name: str) -> None:
    server.run(*OBJECTS[name])

    answer = once("bad", PostgresBackdoors(), postgres)  # a reload takes a moment

    assert (answer.state, answer.target) == ("bad", name)
    assert answer.say.startswith(f"{name}, of ")
    assert the_answer(PostgresBackdoors(allowed=(name,)), postgres=postgres).state == "good"
    assert the_answer(PostgresBackdoors(allowed=(f"{name[:9]}*",)), postgres=postgres).state == "good"


def test_what_ordinary_roles_own_and_what_is_switched_off_is_good(server: Server, postgres: Postgres) -> None:
    server.run(
        *OBJECTS["event trigger spy"],
        "alter event trigger spy disable",
        *OBJECTS["function public.open()"],
        "alter function public.open() owner to app",
    )

    assert the_answer(PostgresBackdoors(), postgres=postgres).state == "good"


def test_several_come_worst_first(server: Server, postgres: Postgres) -> None:
    server.run(*OBJECTS["extension file_fdw"], *OBJECTS["function public.open()"], *OBJECTS["event trigger spy"])

    found = answers(PostgresBackdoors(), postgres=postgres)

    assert [one.target for one in found] == ["event trigger spy", "function public.open()", "extension file_fdw"]
