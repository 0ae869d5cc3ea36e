"""The ladder with the real agent, the real kernel and real packets: limited before the block goes, and one rung up again."""

from __future__ import annotations

import time
from pathlib import Path

from tests.network import Network
from tests.running import wait_for
from tests.test_end_to_end import ATTACKER, POLICY, Host, forget

LADDER = """recover:
  release: limit 6s at 1/s then observe 60s
  watch: 60s
"""


class LettingGo(Host):
    """A host whose policy has a ladder."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, ttl="8s")
        (place / "policies" / "test.yaml").write_text(POLICY % "8s" + LADDER)

    def holding(self) -> set[str]:
        return {one["action"] for one in self.agent.in_force() if one["target"] == ATTACKER}

    def incident(self) -> dict[str, object]:
        (one,) = self.agent.ask("incidents")["items"]
        return dict(one)


def test_the_limit_is_there_before_the_block_goes_and_what_comes_again_goes_one_rung_up(tmp_path: Path, network: Network) -> None:
    host = LettingGo(tmp_path)
    with host.agent:
        host.guess(8)
        wait_for(lambda: host.holding() == {"block_ip"})
        assert not network.attacker.connects("10.77.1.2", 22)

        wait_for(lambda: host.holding() == {"block_ip", "rate_limit"})
        assert not network.attacker.connects("10.77.1.2", 22)
        wait_for(lambda: host.holding() == {"rate_limit"})
        until = time.monotonic() + 2
        let_through = 0
        while time.monotonic() < until:
            let_through += network.attacker.connects("10.77.1.2", 22)
        assert 1 <= let_through <= 5  # two at once, and one each second
        assert host.incident()["phase"] == "recovering"

        wait_for(lambda: host.holding() == set())
        wait_for(lambda: all(network.attacker.connects("10.77.1.2", 22) for _ in range(6)))
        host.guess(8)
        wait_for(lambda: host.holding() == {"rate_limit"})
        host.guess(8)
        wait_for(lambda: "block_ip" in host.holding())
        assert not network.attacker.connects("10.77.1.2", 22)
        assert host.kinds().count("recurred") == 2
        assert host.incident()["phase"] == "contained"
        assert "recurred" in host.agent.contain("why", str(host.incident()["id"])).stdout
    forget()
