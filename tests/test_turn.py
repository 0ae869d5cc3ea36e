from __future__ import annotations

from datetime import timedelta

from actions.block_ip import BlockIp
from actions.rate_limit import RateLimit
from agent.action import Change, action
from agent.schema import Port, Ttl, address
from agent.state import State
from agent.turn import aim, lasting

HOUR = Ttl(timedelta(hours=1))


@action(impact="mild")
class ClosePort:
    """An action whose only telling parameter is a number."""

    port: Port
    ttl: Ttl

    def plan(self) -> list[Change]:
        return []


def test_an_action_is_about_its_first_telling_parameter_and_never_about_an_amount() -> None:
    assert aim(BlockIp(address("203.0.113.7"), HOUR)) == "203.0.113.7"
    assert aim(RateLimit(rps=20, ttl=HOUR, ports=(80, 443))) == "80,443"
    assert aim(RateLimit(rps=20, ttl=HOUR, service="https")) == "https"
    assert aim(ClosePort(8080, HOUR)) == "8080"


def test_a_ttl_that_grows_is_one_length_by_the_time_of_the_plan() -> None:
    growing = BlockIp(address("203.0.113.7"), Ttl.read("1h x2 up to 7d"))
    state = State({}, repeats={"block_ip 203.0.113.7": (2, 0.0)})

    assert lasting(growing, state, 1.0).ttl == Ttl(timedelta(hours=4))
