"""One server of lists for all tests of a module; each says first what it answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.feeds.server import Lists, lists


@pytest.fixture(scope="package")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    with lists(tmp_path_factory.mktemp("lists")) as made:
        yield made


@pytest.fixture
def server(_server: Lists) -> Lists:
    """It answers with an empty list until it is told otherwise."""
    _server.texts()
    _server.asked.clear()
    return _server
