"""Debian's chromium and a studio to look at; without either, one sentence says why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from serving import CHROMIUM, QUIET, WAIT, Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    studio = Served(tmp_path_factory.mktemp("studio"))
    yield studio
    studio.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright to test the studio's pages")
    if CHROMIUM is None:
        pytest.skip("apt-get install chromium to test the studio's pages in a browser")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """A page that has the cookie; whatever its scripts complain of fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(WAIT)
    found, complaints = context.new_page(), []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.goto(served.address)
    yield found
    context.close()
    assert complaints == []
