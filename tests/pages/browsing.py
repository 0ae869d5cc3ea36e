"""Debian's Chromium without a screen, driven as a person would: it opens, types, presses, and says what it complained about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.needs import need
from tests.running import wait_for

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars"),
)


class Browser:
    """One window. `driver` is selenium's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)

    @property
    def path(self) -> str:
        return "/" + str(self.driver.current_url).split("/", 3)[3]

    def find(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def count(self, css: str) -> int:
        return len(self.driver.find_elements("css selector", css))

    @property
    def text(self) -> str:
        return str(self.find("body").text)

    def press(self, words: str, within: str = "main") -> None:
        """A button, link or summary by its words."""
        path = f"//{within}//*[self::button or self::a or self::summary][starts-with(normalize-space(.), '{words}')]"
        found = self.driver.find_element("xpath", path)
        before = None if found.tag_name == "summary" else self.find("html")
        found.click()
        if before:
            wait_for(lambda: self._gone(before))

    def _gone(self, page: Any) -> bool:
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

        try:
            page.is_enabled()
        except StaleElementReferenceException:
            return True
        except WebDriverException:  # right between both pages: chromedriver asks a page for what was in the other
            return False
        return False

    def fill(self, css: str, words: str) -> None:
        field = self.find(css)
        field.clear()
        field.send_keys(words)

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        """A window of so many pixels, by day or by night."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def picture(self, file: Path) -> None:
        """The whole page as PNG."""
        file.write_bytes(self.driver.get_screenshot_as_png())

    def complaints(self) -> list[str]:
        """What its console said since the last time: errors, violations of the pages' policy, what could not be loaded."""
        return [one["message"] for one in self.driver.get_log("browser")]


@contextmanager
def browsing(place: Path) -> Iterator[Browser]:
    """A browser that ends with the block."""
    program, server = need("chromium", "chromium"), need("chromedriver", "chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={place}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(server))
    try:
        driver.set_page_load_timeout(30)
        yield Browser(driver)
    finally:
        driver.quit()
