"""What `contain doctor` says of lists that others keep."""

from __future__ import annotations

from pathlib import Path

from agent.feeds.examine import examine
from agent.grammar.config_feeds import CrowdsecKeys, FeedKeys


def test_each_list_has_its_finding_with_the_mend(tmp_path: Path) -> None:
    there, key, open_key = tmp_path / "bad.txt", tmp_path / "key", tmp_path / "open"
    there.touch()
    key.touch(0o600)
    open_key.touch(0o644)
    feeds = {
        "there": FeedKeys(file=there),
        "gone": FeedKeys(file=tmp_path / "gone"),
        "folder": FeedKeys(file=tmp_path),
        "far": FeedKeys(url="https://lists.example.com/x"),
        "mine": FeedKeys(crowdsec=CrowdsecKeys(key)),
        "open": FeedKeys(crowdsec=CrowdsecKeys(open_key)),
    }

    said = {what: (ok, mend) for what, ok, _, mend in examine(feeds)}

    assert {what: ok for what, (ok, _) in said.items()} == {
        "list there": True,
        "list gone": None,
        "list folder": False,
        "list far": None,
        "list mine": True,
        "list open": False,
    }
    assert said["list open"][1].startswith("cscli bouncers add")
