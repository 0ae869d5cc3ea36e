"""One agent for all that needs no agent of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.intake.sending import Intake
from tests.needs import need_root


@pytest.fixture(scope="session")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    need_root()
    place = tmp_path_factory.mktemp("intake")
    for one in (place, *place.parents[:3]):
        if one.stat().st_uid == 0 and str(one) != "/tmp":
            one.chmod(0o755)  # other users of this host come to the socket
    with Intake(place) as made:
        yield made
