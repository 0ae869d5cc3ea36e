"""PostgresSettings: does it run with settings that lose data or hide what happens?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.checks.postgres_settings import PostgresSettings
from agent.systems.postgres import Postgres
from tests.checks.asking import the_answer
from tests.checks.waiting import once
from tests.postgres import Server

OURS = ("fsync",)
"""Off on the server of the tests."""


@pytest.fixture
def settings(postgres_server: Server) -> Iterator[Server]:
    yield postgres_server
    postgres_server.run(
        "alter system reset all",
        "select pg_reload_conf()",
        "alter role app reset all",
        "alter database shop reset all",
        "alter role app in database shop reset all",
    )


def test_harmless_settings_are_good(postgres: Postgres) -> None:
    answer = the_answer(PostgresSettings(allowed=OURS), postgres=postgres)

    assert (answer.state, answer.say) == ("good", "no setting loses data or hides what happens")


def test_a_dangerous_one_is_bad_and_says_why(postgres: Postgres) -> None:
    answer = the_answer(PostgresSettings(), postgres=postgres)

    assert (answer.state, answer.value, answer.target) == ("bad", 1, "main")
    assert answer.say == "fsync is off, so that a crash of the host destroys data"


@pytest.mark.parametrize(
    ("whom", "only_for"),
    [("role app", "role app"), ("database shop", "database shop"), ("role app in database shop", "role app and database shop")],
)
@pytest.mark.parametrize("value", ["on", "true", "1", "YES", "t"])
def test_one_that_holds_for_a_role_or_database_is_bad_however_it_is_written(
    settings: Server, postgres: Postgres, whom: str, only_for: str, value: str
) -> None:
    settings.run(f"alter {whom} set zero_damaged_pages = '{value}'")

    answer = the_answer(PostgresSettings(allowed=OURS), postgres=postgres)

    assert (
        answer.say.lower() == f"zero_damaged_pages is {value.lower()} for {only_for}, so that damaged pages are emptied, for good"
    )


def test_the_same_setting_set_to_what_is_harmless_is_good(settings: Server, postgres: Postgres) -> None:
    settings.run("alter role app set zero_damaged_pages = 'no'", "alter database shop set work_mem = '8MB'")

    assert the_answer(PostgresSettings(allowed=OURS), postgres=postgres).state == "good"


def test_what_another_does_for_all_is_seen_although_the_session_is_older(settings: Server, postgres: Postgres) -> None:
    settings.run("alter system set log_min_messages = 'panic'", "select pg_reload_conf()")

    answer = once("bad", PostgresSettings(allowed=OURS), postgres)

    assert answer.say == "log_min_messages is panic, so that errors do not reach the log, corruption among them"


def test_a_name_that_is_none_of_the_dangerous_is_refused_when_agent_yaml_is_read() -> None:
    with pytest.raises(ValueError, match="allowed names work_mem; this check looks at fsync, "):
        PostgresSettings(allowed=("work_mem",))
