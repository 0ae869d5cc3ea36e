"""`hooks:` of agent.yaml: a fixed list of arguments, no secrets, checks that there are, and policies that name what there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import checks, wiring
from agent.action import discover
from agent.grammar.config import Config, read_config
from agent.grammar.located import Problems

POLICY = """policy: mend
severity: P1
owner: sre
{mode}when: {{event: check, match: {{check: http, ok: false}}, for: 3 of 5}}
then:
  - run_hook: {{hook: {hook}}}
guard: {{max: 2 per 1h}}
"""


def config(hooks: str) -> Config:
    text = f'version: 1\nchecks: {{shop: {{http: {{url: "http://127.0.0.1/"}}}}}}\nhooks:\n  rollback-shop: {hooks}\n'
    return read_config(text, "agent.yaml", sensors={}, checks=discover(checks, mark="ask"))


def test_a_hook_is_read() -> None:
    one = config("{run: [/usr/local/sbin/rollback, shop], timeout: 90s, user: deploy, env: {RELEASE: last}, verify: [shop]}")

    hook = one.hooks["rollback-shop"]

    assert (hook.run, hook.timeout, hook.user) == (("/usr/local/sbin/rollback", "shop"), timedelta(seconds=90), "deploy")
    assert (dict(hook.env), hook.verify, hook.verify_run) == ({"RELEASE": "last"}, ("shop",), ())
    assert wiring.settings(one, forced_dry_run=False).hooks == {"rollback-shop": ("shop",)}
    assert wiring.settings(one, forced_dry_run=False).checks == {"shop": "http"}


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ("{run: []}", "whole path"),
        ("{run: [rollback]}", "whole path"),
        ("{run: rollback shop}", "list"),
        ("{run: [/bin/true], timeout: 0s}", "not between"),
        ("{run: [/bin/true], timeout: 13h}", "not between"),
        ("{run: [/bin/true], env: {DB_PASSWORD: hunter2}}", "looks like a secret"),
        ("{run: [/bin/true], env: {A-B: x}}", "no name of a variable"),
        ("{run: [/bin/true], verify: [shpo]}", "no check is called `shpo`"),
        ("{command: [/bin/true]}", "unknown key `command`"),
    ],
)
def test_what_cannot_be_run_so_is_told_with_its_place(hooks: str, told: str) -> None:
    with pytest.raises(Problems) as caught:
        config(hooks)

    assert any(told in f"{one.text}; {one.hint}" for one in caught.value.found)
    assert all(one.place.line == 4 for one in caught.value.found)


@pytest.mark.parametrize(
    ("hook", "mode", "wrong"), [("rollback-shop", "", False), ("rolback-shop", "", True), ("any", 'mode: "off"\n', False)]
)
def test_a_policy_names_a_hook_that_is_there_unless_it_is_off(tmp_path: Path, hook: str, mode: str, wrong: bool) -> None:
    (tmp_path / "mend.yaml").write_text(POLICY.format(hook=hook, mode=mode))
    one = replace(config("{run: [/bin/true]}"), policies=(tmp_path,))

    try:
        wiring.read_policies(one)
        found = []
    except Problems as error:
        found = [f"{each.text}; {each.hint}" for each in error.found if each.level == "error"]

    assert found == (["no hook is called `rolback-shop`; did you mean `rollback-shop`?"] if wrong else [])
