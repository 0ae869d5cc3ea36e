"""One agent for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.metrics.scraped import Scraped
from tests.needs import need, need_root


@pytest.fixture(scope="package")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    need_root()
    need("nft", "nftables")
    with Scraped(tmp_path_factory.mktemp("metrics")) as made:
        yield made
