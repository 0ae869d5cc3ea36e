"""What documents say of an installed agent, done by its words: installed from the package, attacked, upgraded, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.document import Document, documents
from tests.docs.places import Installed
from tests.docs.shell import follow
from tests.needs import need
from tests.systemd_box import Box

IN_BOX = sorted((one for one in documents() if one.running("box", "attacker")), key=lambda one: (not one.bare, one.name))


@pytest.fixture(scope="module")
def installed(make_box: type[Box], deb: Path) -> Iterator[Installed]:
    need("sshd", "openssh-server")
    made = Installed(deb)
    yield made
    made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("one", IN_BOX, ids=lambda one: one.name)
def test_commands_run_in_a_box_where_the_package_is_installed(one: Document, installed: Installed) -> None:
    installed.prepare(bare=one.bare)

    follow(one, one.running("box", "attacker"), installed)
