"""One agent with pages, and one browser, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.needs import need_root
from tests.pages.browsing import Browser, browsing
from tests.pages.surfing import Paged


@pytest.fixture(scope="package")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    need_root()
    with Paged(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("chromium")) as made:
        yield made
