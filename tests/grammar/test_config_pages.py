"""`pages:` of agent.yaml: what it becomes, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.grammar.config import Config, read_config
from agent.grammar.problem import Problems
from agent.intake.settings import Listen, Tls
from agent.pages.settings import Settings


def read(pages: str) -> Config:
    return read_config(f"version: 1\npages: {pages}\n", "agent.yaml", sensors={}, checks={})


def test_there_are_no_pages_where_nothing_is_said() -> None:
    assert read_config("version: 1\n", "agent.yaml", sensors={}, checks={}).pages is None


def test_everything_that_can_be_said() -> None:
    tls = "{cert_file: c, key_file: k, client_ca_file: a}"
    text = f'{{listen: "192.0.2.10:9444", socket: /run/p.sock, tls: {tls}, hosts: [Shop1.Example.com]}}'

    found = read(text).pages

    assert found is not None
    made = Tls(Path("c"), Path("k"), Path("a"))
    assert found == Settings(Listen("192.0.2.10", 9444), Path("/run/p.sock"), ("shop1.example.com",), made)
    assert found.address == "https://shop1.example.com:9444"
    assert found.names == {"shop1.example.com", "192.0.2.10"}


@pytest.mark.parametrize(
    ("text", "address", "names"),
    [
        ('{listen: "127.0.0.1:9444"}', "http://127.0.0.1:9444", {"127.0.0.1", "localhost", "[::1]"}),
        ('{listen: "[::1]:9444"}', "http://[::1]:9444", {"127.0.0.1", "localhost", "[::1]"}),
        ("{socket: /run/p.sock, hosts: [shop1.example.com]}", "https://shop1.example.com", {"shop1.example.com"}),
        (
            '{listen: "127.0.0.1:9444", hosts: ["shop1.example.com:8443"]}',
            "https://shop1.example.com:8443",
            {"shop1.example.com", "127.0.0.1", "localhost", "[::1]"},
        ),
    ],
)
def test_where_people_find_them_and_by_which_names(text: str, address: str, names: set[str]) -> None:
    found = read(text).pages

    assert found is not None
    assert found.address == address
    assert found.names == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "nowhere to listen"),
        ('{listen: "0.0.0.0:9444"}', "in the clear"),
        ('{listen: "192.0.2.10:9444"}', "in the clear"),
        ('{listen: "0.0.0.0:9444", tls: {cert_file: c, key_file: k}}', "by which name browsers come"),
        ("{socket: /run/p.sock}", "by which name browsers come"),
        ("{socket: /run/p.sock, hosts: [a], tls: {cert_file: c, key_file: k}}", "tls is for a TCP address"),
        ('{listen: "localhost:9444"}', "is no address with a port"),
        ('{listen: "127.0.0.1:9444", hosts: ["https://shop1"]}', "is no name of a host"),
        ('{listen: "127.0.0.1:9444", hosts: ["*.example.com"]}', "is no name of a host"),
        ('{listen: "127.0.0.1:9444", hosts: ["a:99999"]}', "is no name of a host"),
        ('{listen: "127.0.0.1:9444", password: x}', "contain web"),
        ('{listen: "127.0.0.1:9444", tls: {cert_file: c}}', "key_file"),
        ('{listen: "127.0.0.1:9444", cert_file: c}', "tls"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Problems) as caught:
        read(text)

    assert said in str(caught.value)
    assert "agent.yaml:2:" in str(caught.value)
