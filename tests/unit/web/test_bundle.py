"""What a report of a defect tells, and what of the user it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from web_client import TOKEN

from booth.web.pages import settings
from booth.web.studio import Studio

SECRETS = (
    "hf_abcdefghijklmnopqrstuvwxyz", "sk-proj-0123456789abcdef", "ghp_0123456789abcdefghij", "anna.schmidt",
    "schmidts-laptop", "/home/anna.schmidt/Bilder/urlaub", "/mnt/nas/privat/rex.safetensors",
    "C:\\Users\\anna\\rex.png", "Waldi", TOKEN,
)  # fmt: skip


@pytest.fixture
def bundle(studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of somebody whose job failed with everything of theirs in its last words."""
    monkeypatch.setattr(
        settings, "_examined", lambda: {"device": "cpu", "cores": 2, "cache": f"{studio.home.root}/cache"}
    )
    monkeypatch.setattr(settings, "_user", lambda: "anna.schmidt")
    monkeypatch.setattr(settings.platform, "node", lambda: "schmidts-laptop")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna.schmidt"))
    job = studio.keeper.add(
        "train", ["train", "--class=dog", "--token=Waldi", "--out=concepts/Waldi", "--", "photos/Waldi"]
    )
    studio.library.put(replace(job, state="failed", reason=f"{studio.home.root}/photos/Waldi is gone."))
    words = " and ".join(s for s in SECRETS if s != "Waldi")
    studio.library.folder(job).stderr.write_text(
        f"loading {words}\nfailed at http://127.0.0.1:7878/login?token={TOKEN}\n"
    )
    answer = client.get("/api/bundle")
    assert "attachment" in answer.headers["content-disposition"]
    return answer.text


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_of_the_user_is_in_it(bundle: str, secret: str) -> None:
    assert secret not in bundle
    assert json.dumps(secret)[1:-1] not in bundle


def test_the_folder_is_not_in_it_and_what_helps_is(bundle: str, studio: Studio) -> None:
    told = json.loads(bundle)
    assert str(studio.home.root) not in bundle
    assert told["doctor"]["device"] == "cpu"
    (job,) = told["jobs"]
    assert (job["kind"], job["state"]) == ("train", "failed")
    assert job["words"] == ["--class", "--token", "--out", "--"]
    assert "is gone" in job["reason"]
