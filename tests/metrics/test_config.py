"""`metrics:` of agent.yaml: what it becomes, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.grammar.config import Config, read_config
from agent.grammar.problem import Problems
from agent.intake.settings import Listen, Tls
from agent.metrics.settings import Settings


def read(metrics: str) -> Config:
    return read_config(f"version: 1\nmetrics: {metrics}\n", "agent.yaml", sensors={}, checks={})


def test_nobody_listens_where_nothing_is_said() -> None:
    assert read_config("version: 1\n", "agent.yaml", sensors={}, checks={}).metrics is None


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('{listen: "127.0.0.1:9445"}', Settings(Listen("127.0.0.1", 9445))),
        ('{listen: "[::1]:9445"}', Settings(Listen("::1", 9445))),
        ("{socket: /run/m.sock}", Settings(socket=Path("/run/m.sock"))),
        ('{listen: "192.0.2.10:9445", anybody: true}', Settings(Listen("192.0.2.10", 9445), anybody=True)),
        (
            '{listen: "192.0.2.10:9445", tls: {cert_file: c, key_file: k, client_ca_file: a}}',
            Settings(Listen("192.0.2.10", 9445), tls=Tls(Path("c"), Path("k"), Path("a"))),
        ),
    ],
)
def test_what_can_be_said(text: str, settings: Settings) -> None:
    assert read(text).metrics == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "nowhere to listen"),
        ('{listen: "0.0.0.0:9445"}', "whoever reaches 0.0.0.0:9445 could read"),
        ('{listen: "[::]:9445"}', "anybody: true"),
        ('{listen: "192.0.2.10:9445", tls: {cert_file: c, key_file: k}}', "client_ca_file"),
        ("{socket: /run/m.sock, tls: {cert_file: c, key_file: k}}", "tls is for a TCP address"),
        ('{listen: "localhost:9445"}', "is no address with a port"),
        ('{listen: "127.0.0.1:9445", password: x}', "client_ca_file"),
        ("{port: 9445}", 'write listen: "127.0.0.1:9445"'),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Problems) as caught:
        read(text)

    assert said in str(caught.value)
    assert "agent.yaml:2:" in str(caught.value)
