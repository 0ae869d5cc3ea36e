"""All that is written of the code, by its name under docs/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.reference import actions, agent_page, commands, events, man, policy_page, records


def pages(policies: Path, units: Path) -> Mapping[str, str]:
    """Name under docs/ → text. `policies` are the shipped ones, `units` is systemd/ with the drop-ins."""
    return {
        "reference/policies.md": policy_page.policies(policies),
        "reference/agent-yaml.md": agent_page.agent_yaml(),
        "reference/actions.md": actions.actions(),
        "reference/events.md": events.events(),
        "reference/checks.md": agent_page.checks(),
        "reference/records.md": records.records(),
        "reference/commands.md": commands.commands(),
        "man/contain.1": man.contain(),
        "man/containment-agent.8": man.service(units),
        "man/agent.yaml.5": man.agent_yaml(),
    }
