"""The signing key is made once, kept for its owner alone, and never quietly replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.evidence.keys import CannotUseKey, Key, load_or_make
from agent.evidence.note import PublicKey


def test_the_first_start_makes_a_key_and_the_next_one_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "signing.key"

    made = load_or_make(path, host="web 1+x")
    found = load_or_make(path, host="another name")

    assert found.vkey == made.vkey
    assert made.public.name == "web-1-x/containment-agent"
    assert path.stat().st_mode & 0o777 == 0o600
    assert PublicKey.read((tmp_path / "state" / "signing.vkey").read_text()) == made.public
    assert sorted(one.name for one in path.parent.iterdir()) == ["signing.key", "signing.vkey"]


def test_what_it_signs_is_checked_with_its_public_half(tmp_path: Path) -> None:
    key = load_or_make(tmp_path / "key", host="h")

    key.public.check(key.sign(b"text"), b"text")


def test_agents_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    names: list[str] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait(10)
        names.append(load_or_make(tmp_path / "key", host="h").vkey)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)

    assert len(names) == 8
    assert len(set(names)) == 1


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o666, 0o602])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_make(path, host="h")
    path.chmod(mode)

    with pytest.raises(CannotUseKey, match=rf"others may use it \(mode {mode:o}\)\nMend: chmod 600"):
        load_or_make(path, host="h")


@pytest.mark.parametrize(
    "content", ["", "PRIVATE+KEY+h", "PRIVATE+KEY+h+00000000+AAAA", "\xff\xfe", "PRIVATE+KEY+h+zz+" + "A" * 44]
)
def test_a_damaged_key_is_told_and_stays_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)

    with pytest.raises(CannotUseKey, match=r"it holds no key .*\nPut it back from its copy"):
        load_or_make(path, host="h")

    assert path.read_bytes() == content.encode("latin-1")


def test_one_changed_letter_in_the_key_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_make(path, host="h")
    whole = path.read_text().strip()
    for place in range(len(whole)):
        path.write_text(whole[:place] + ("A" if whole[place] != "A" else "B") + whole[place + 1 :])

        with pytest.raises(CannotUseKey):
            load_or_make(path, host="h")


def test_a_place_that_cannot_hold_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotUseKey, match=r"cannot use the signing key .*\nGive the agent's user"):
        load_or_make(tmp_path / "file" / "key", host="h")


def test_the_key_does_not_show_in_a_traceback_and_other_keys_come_of_it() -> None:
    key = Key("h/containment-agent", os.urandom(32))

    assert repr(key) == f"Key({key.vkey})"
    assert key.derive("a") != key.derive("b")
    assert key.derive("a") == key.derive("a")
