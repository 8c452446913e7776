"""A studio on an empty folder, and somebody who has its token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from web_client import PORT, TOKEN

from booth.web.app import create_app
from booth.web.home import Home
from booth.web.safety import MARK, Door
from booth.web.studio import Studio, open_studio


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.root.mkdir()
    found.make()
    return found


@pytest.fixture
def studio(home: Home) -> Iterator[Studio]:
    """Nothing runs in it: its keeper was not started."""
    made = open_studio(home, Door(TOKEN, PORT))
    yield made
    made.library.close()


@pytest.fixture
def stranger(studio: Studio) -> TestClient:
    """A browser without the token."""
    return TestClient(create_app(studio), base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False)


@pytest.fixture
def client(studio: Studio) -> TestClient:
    """A browser that has the cookie, and a page of the studio open."""
    browser = TestClient(create_app(studio), base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False)
    browser.cookies.set(studio.door.cookie, TOKEN)
    browser.headers[MARK] = "1"
    return browser
