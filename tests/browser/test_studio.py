"""The studio in a real browser: from dropped photos to an exported concept, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serving import WAIT, Served

from booth.events import read_events
from booth.registry import ENCODERS
from booth.world import demo

pytestmark = pytest.mark.xdist_group("browser")  # one studio, one browser and one training serve all of them

PHOTOS = sorted(demo.photos().glob("*.png"))
STEPS = 4
LONG = 24  # of a run whose worker is killed meanwhile
MOST_CLICKS = 5  # from dropped photos to a running job
COUNT = "addEventListener('click', () => { sessionStorage.clicks = Number(sessionStorage.clicks || 0) + 1; }, true)"
SIZES = {"phone": (390, 844, "dark"), "desk": (1440, 900, "light")}


def ask(served: Served, place: str) -> Any:
    request = urllib.request.Request(served.base + place, headers={"authorization": f"Bearer {served.token}"})
    return json.load(urllib.request.urlopen(request, timeout=60))


@pytest.fixture(scope="module")
def taught(browser: Any, served: Served) -> dict[str, str]:
    """One way through all of it, on the embedded base, with the server killed while the training runs."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(WAIT)
    context.add_init_script(COUNT)
    page = context.new_page()
    page.goto(served.address)
    page.set_input_files("#files", [str(p) for p in PHOTOS])
    page.wait_for_url(re.compile(r"/photos/[0-9a-f]{12}$"))
    found = {"set": page.url.rsplit("/", 1)[1]}
    page.click("#next")
    page.fill("#noun", "dog")
    page.wait_for_selector("#f-settings-steps")
    page.fill("#f-settings-steps", str(STEPS))
    page.locator("#f-settings-steps").blur()
    page.fill("#f-run-previews", "2")
    page.locator("#f-run-previews").blur()
    page.click("#start")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{12}$"))
    found |= {"run": page.url.rsplit("/", 1)[1], "clicks": page.evaluate("sessionStorage.clicks")}
    served.kill()
    served.start()
    page.reload()
    page.wait_for_selector("#state.is-done")
    found["concept"] = found["run"]
    context.close()
    return found


@pytest.mark.slow
def test_a_few_clicks_lead_from_photos_to_a_running_job(taught: dict[str, str]) -> None:
    assert 1 <= int(taught["clicks"]) <= MOST_CLICKS


@pytest.mark.slow
def test_a_killed_server_lost_nothing_of_the_run(taught: dict[str, str], served: Served) -> None:
    run = ask(served, f"/api/runs/{taught['run']}")
    assert run["state"] == "done"
    assert run["steps"] == run["all_steps"] == STEPS
    assert [step for step, _ in run["losses"]] == list(range(1, STEPS + 1))
    for _ in range(600):  # its process may still be leaving
        (job,) = [j for j in ask(served, "/api/jobs")["jobs"] if j["kind"] == "train"]
        if job["state"] != "saving":
            break
        time.sleep(0.2)
    assert job["state"] == "done"
    assert job["command"].startswith("booth train --class=dog")


@pytest.mark.slow
def test_a_second_tab_shows_the_same(taught: dict[str, str], page: Any, served: Served) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{served.base}/runs/{taught['run']}")
        assert tab.inner_text("#steps") == f"{STEPS} / {STEPS}"
        assert tab.locator("#sheet img").count() > 0


@pytest.mark.slow
def test_the_wall_says_which_is_best_and_why(taught: dict[str, str], page: Any, served: Served) -> None:
    page.goto(f"{served.base}/wall/{taught['concept']}")
    page.wait_for_selector("#wall")
    assert re.search(r"Step \d+ is the best", page.inner_text("h2"))
    assert "more like the photos" in page.inner_text(".verdict")
    rows = page.locator("#wall tbody tr")
    assert rows.nth(0).inner_text().startswith("untouched base")
    page.locator("[data-row='1']").first.click()
    assert page.is_visible("#pair-base")
    page.fill("#pair-at", "80")
    page.keyboard.press("Escape")
    page.fill("#zoom", "2")
    assert page.locator("#wall .picture").first.evaluate("i => i.style.transform") == "scale(2)"


@pytest.mark.slow
def test_what_scores_is_shown_when_it_is_asked_for_and_chosen(
    taught: dict[str, str], page: Any, served: Served
) -> None:
    page.goto(f"{served.base}/wall/{taught['concept']}")
    page.locator("details", has=page.locator("[hx-get='/encoders']")).locator("summary").click()
    page.wait_for_selector("[data-encoder]")
    boxes = page.locator("[data-encoder]")
    assert [boxes.nth(i).get_attribute("value") for i in range(boxes.count())] == list(ENCODERS)
    for box in page.locator("[data-encoder]:disabled").all():
        told = page.inner_text(f"#{box.get_attribute('aria-describedby')}")
        assert re.search(r"hf download|pip install", told)
    with page.expect_request("**/api/wall/*") as sent:
        page.route("**/api/wall/*", lambda route: route.fulfill(status=409, json={"error": "Not in this test."}))
        page.check("[data-encoder][value='world-identity']")
        page.click("#measure")
    assert sent.value.post_data_json == {"encoders": ["world-identity"]}


@pytest.mark.slow
def test_it_is_exported_and_the_proof_is_shown(taught: dict[str, str], page: Any, served: Served) -> None:
    page.goto(f"{served.base}/concepts/{taught['concept']}")
    page.wait_for_selector("#to")
    page.select_option("#to", "kohya")
    page.click("#export button")
    page.wait_for_selector("[data-export][data-state=done]")
    assert "tensors match" in page.inner_text(".exported")
    assert "models/Lora" in page.inner_text(".exported")
    with page.expect_download() as download:
        page.click(".exported a[download]")
    assert Path(download.value.path()).stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_no_page_is_wider_than_the_screen_or_heavy_or_hard_to_use(
    taught: dict[str, str], browser: Any, served: Served, size: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    width, height, scheme = SIZES[size]
    key, run = taught["set"], taught["run"]
    pages = ["/photos", f"/photos/{key}", f"/plan/{key}", "/runs", f"/runs/{run}", "/draw", f"/wall/{run}", "/compare"]
    pages += ["/concepts", f"/concepts/{run}", "/settings", "/login"]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(served.address)
    sizes: list[int] = []
    page.on("response", lambda answer, sizes=sizes: sizes.append(_weight(answer)))
    for place in pages:
        sizes.clear()
        page.goto(served.base + place)
        for words in page.locator("details:has([hx-get='/encoders']) summary:visible").all():
            words.click()
        page.wait_for_load_state("load" if place == "/runs" else "networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (place, size)
        assert sum(sizes) <= 150_000, (place, sum(sizes))
        found = axe.Axe().run(page).response["violations"]
        serious = [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], (place, size, scheme)
    context.close()


def _weight(response: Any) -> int:
    kind = response.headers.get("content-type", "")
    return 0 if kind.startswith("image/") else int(response.headers.get("content-length", 0))


@pytest.mark.slow
@pytest.mark.slow
def test_a_killed_worker_is_told_of_and_the_run_goes_on_from_what_is_saved(
    taught: dict[str, str], page: Any, served: Served
) -> None:
    page.goto(f"{served.base}/plan/{taught['set']}")
    page.fill("#noun", "dog")
    page.wait_for_selector("#f-settings-steps")
    for field, value in (("settings-steps", LONG), ("run-previews", 0)):
        page.fill(f"#f-{field}", str(value))
        page.locator(f"#f-{field}").blur()
    page.click("[data-level=advanced]")
    page.fill("#f-run-checkpoint_every", "1")
    page.locator("#f-run-checkpoint_every").blur()
    page.click("#start")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{12}$"))
    run = page.url.rsplit("/", 1)[1]
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator("#checkpoints")).not_to_have_text(re.compile(r"^[0–]$"), timeout=WAIT)
    assert re.search(r"\d (MB|GB)", page.inner_text("#memory"))

    lock = served.home / ask(served, f"/api/runs/{run}")["path"]
    worker = json.loads(lock.with_name(f"{lock.name}.run").joinpath("lock").read_text())
    os.kill(worker["pid"], signal.SIGKILL)
    page.wait_for_selector("#state.is-killed")
    saved = re.search(r"Everything up to step (\d+) is safe", page.inner_text("#reason"))
    assert saved is not None, page.inner_text("#reason")
    page.wait_for_selector("[data-act=resume]:visible")
    for _ in range(100):  # the keeper looks when it looks
        (job,) = [j for j in ask(served, "/api/jobs")["jobs"] if j["run"] == run]
        if job["state"] == "failed":
            break
        time.sleep(0.2)
    assert (job["state"], job["advice"]) == ("failed", "advice.killed")

    page.click("[data-act=resume]")
    page.wait_for_selector("#state.is-done")
    assert page.inner_text("#steps") == f"{LONG} / {LONG}"
    begun = [event.done for event in read_events(lock / "run" / "events.jsonl") if event.kind == "plan"]
    assert len(begun) == 2
    assert begun[0] == 0 < int(saved[1]) <= begun[1] < LONG


@pytest.mark.slow
def test_by_keyboard_alone(taught: dict[str, str], page: Any, served: Served) -> None:
    page.goto(f"{served.base}/photos/{taught['set']}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.edit"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#editor[open]")
    page.keyboard.press("Space")
    page.wait_for_selector("#coverage:has-text('covers')")
    page.keyboard.press("Escape")
    page.goto(f"{served.base}/plan/{taught['set']}")
    assert page.evaluate("document.activeElement.id") == "noun"


@pytest.mark.slow
def test_the_subject_is_found_as_a_start_of_the_mask(taught: dict[str, str], page: Any, served: Served) -> None:
    page.goto(f"{served.base}/photos/{taught['set']}")
    page.locator("[data-edit]").first.click()
    page.wait_for_selector("#editor[open]")
    page.click("[data-do=find]")
    page.wait_for_selector("#coverage:has-text('covers')")
    share = int(re.search(r"covers (\d+)", page.inner_text("#coverage"))[1])  # type: ignore[index]
    assert 10 < share < 60


@pytest.mark.slow
def test_another_base_has_other_defaults(taught: dict[str, str], page: Any, served: Served) -> None:
    page.goto(f"{served.base}/plan/{taught['set']}")
    page.wait_for_selector("#f-settings-learning_rate")
    expect = pytest.importorskip("playwright.sync_api").expect
    before = page.input_value("#f-settings-learning_rate")
    page.fill("#noun", "dog")
    page.fill("#base", "models/sd15")
    page.locator("#base").blur()
    expect(page.locator("#f-settings-learning_rate")).not_to_have_value(before, timeout=WAIT)
    assert page.input_value("#noun") == "dog"


@pytest.mark.slow
def test_the_time_on_a_card_is_of_as_many_steps_as_are_asked_for(
    taught: dict[str, str], page: Any, served: Served
) -> None:
    cost = {"seconds": 100, "train_seconds": 80, "plus_minus": 0.05, "peak_memory_bytes": 1, "artifact_bytes": 1}
    page.goto(f"{served.base}/plan/{taught['set']}")
    page.wait_for_selector("#f-settings-steps")
    steps = int(page.input_value("#f-settings-steps"))
    costs = served.home / "studio" / "costs.json"
    before = costs.read_text() if costs.is_file() else None
    costs.write_text(json.dumps({"embedded": {"lora": cost | {"steps": steps}}}))
    try:
        page.reload()
        shown = page.locator("[data-method=lora] [data-fact=seconds]")
        expect = pytest.importorskip("playwright.sync_api").expect
        expect(shown).to_have_text("1 min 40 s ± 5 %")
        page.fill("#f-settings-steps", str(2 * steps))
        page.locator("#f-settings-steps").blur()
        expect(shown).to_have_text("3 min 00 s ± 5 %")
    finally:
        costs.unlink() if before is None else costs.write_text(before)


@pytest.mark.essential
def test_a_bad_upload_is_told_of_and_the_others_are_taken(page: Any, served: Served, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("<svg onload=alert(1)>")
    page.goto(f"{served.base}/photos")
    page.set_input_files("#files", [str(PHOTOS[0]), str(tmp_path / "notes.png")])
    page.wait_for_selector("#uploads a.button")
    assert "web page or SVG" in page.inner_text("#uploads")


@pytest.mark.essential
def test_it_speaks_german_and_goes_dark(page: Any, served: Served) -> None:
    page.goto(f"{served.base}/settings")
    page.get_by_role("button", name="Deutsch").first.click()
    page.wait_for_selector("html[lang=de]")
    assert page.inner_text("h1") == "Einstellungen"
    page.get_by_role("button", name="Dunkel").last.click()
    page.wait_for_selector("html[data-theme=dark]")
