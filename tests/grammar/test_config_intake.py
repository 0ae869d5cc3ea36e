"""`intake:` of agent.yaml: what is right becomes settings, what is wrong is pointed at, with its mend."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.grammar.config import read_config
from agent.grammar.problem import Problems
from agent.intake.settings import Auth, Listen, Settings
from agent.streams.sender import discover_senders

SENDERS = discover_senders()


def read(text: str) -> Settings:
    given = f"version: 1\nsocket: /run/agent/agent.sock\nintake:\n{text}"
    made = read_config(given, "/etc/agent.yaml", sensors={}, checks={}, senders=SENDERS).intake
    assert made is not None
    return made


def test_all_of_it() -> None:
    made = read("""
  listen: "192.0.2.10:9443"
  tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem}
  senders:
    prometheus: {alertmanager: {}, auth: {bearer_file: token}, rate: 10 per 1m, largest: 8MiB, expect: 10m}
    grafana: {grafana: {}, auth: {hmac_file: secret, style: grafana}}
    local: {alertmanager: {}, auth: {users: [root, "998"]}}
    mtls: {alertmanager: {}, auth: {client_names: [monitoring]}}
""")

    by_name: dict[str, Any] = {one.name: one for one in made.inlets}
    assert made.socket == Path("/run/agent/intake.sock")
    assert made.listen == Listen("192.0.2.10", 9443)
    assert by_name["prometheus"].auth == Auth("bearer", Path("/etc/token"))
    assert (by_name["prometheus"].burst, by_name["prometheus"].per_second) == (10, 10 / 60)
    assert (by_name["prometheus"].largest, by_name["prometheus"].expect) == (8 << 20, timedelta(minutes=10))
    assert (by_name["grafana"].auth.style, by_name["grafana"].burst) == ("grafana", 50)
    assert by_name["local"].auth.names == ("root", "998")
    assert by_name["mtls"].source == "in:mtls"


def test_two_readings_of_the_same_are_equal_so_that_a_reload_says_nothing() -> None:
    text = "  senders: {a: {alertmanager: {}, auth: none}}\n"

    assert read(text) == read(text)


WRONG = {
    "  senders: {a: {alertmanager: {}}}": "`auth` is missing",
    "  senders: {a: {alertmanager: {}, auth: {}}}": "a sender shows who it is in one way, here are none",
    "  senders: {a: {alertmanager: {}, auth: {users: [b], bearer_file: c}}}": "in one way, here are users and bearer",
    "  senders: {a: {alertmanager: {}, auth: {token: abc}}}": "put the token into a file and name that: bearer_file: …",
    "  senders: {a: {alertmanager: {}, auth: {bearer_file: c, style: grafana}}}": "style and timestamp_header belong to",
    "  senders: {a: {auth: none}}": "this sender names no sender type",
    "  senders: {a: {alertmanagr: {}, auth: none}}": "did you mean `alertmanager`?",
    "  senders: {A/b: {alertmanager: {}, auth: none}}": "`A/b` cannot stand in a path",
    "  senders: {a: {alertmanager: {}, auth: none, largest: 9MiB}}": "a document may have up to 8MiB",
    "  senders: {a: {alertmanager: {}, auth: none, expect: 1ms}}": "1 ms is too short",
    "  senders: {a: {alertmanager: {}, bearer_file: c, auth: none}}": "it goes inside auth: {…}",
    "  listen: localhost\n  senders: {}": "`localhost` is no address with a port",
    "  tls: {cert_file: a, key_file: b}\n  senders: {}": "tls is for a TCP address, and none is named",
    '  listen: "0.0.0.0:80"\n  senders: {a: {alertmanager: {}, auth: none}}': "anybody who reaches 0.0.0.0:80 could send",
    '  listen: "[::]:80"\n  senders: {a: {alertmanager: {}, auth: {bearer_file: c}}}': "its secret would cross the network",
    "  senders: {a: {alertmanager: {}, auth: {client_names: [b]}}}": "client_names needs to know whose certificates to believe",
    "  port: 80\n  senders: {}": 'write listen: "127.0.0.1:9443"',
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_pointed_at(text: str) -> None:
    with pytest.raises(Problems) as caught:
        read(text)

    assert WRONG[text] in str(caught.value)
    assert all(one.place.line > 2 for one in caught.value.found)


def test_a_signature_may_come_over_a_network_without_tls() -> None:
    assert read('  listen: "0.0.0.0:80"\n  senders: {a: {alertmanager: {}, auth: {hmac_file: c}}}').inlets[0].auth.way == "hmac"
