"""A fleet in a bucket: moto's S3 in this process, behind which every third request is answered with 503."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from booth.executor.here import ThisProcess
from booth.fleet import place as places
from booth.fleet.driver import Fleet, run_fleet
from booth.fleet.manifest import Entry
from booth.fleet.place import Folder, open_place
from booth.fleet.removal import delete_subject

MISSING = [name for name in ("moto", "s3fs", "flask") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed: booth[dev]")


class Unsteady:
    """A WSGI application of which every so many-th request is answered with 503."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.every = 0
        self.requests = self.failed = 0

    def __call__(self, environ: Any, start: Any) -> Any:
        self.requests += 1
        if self.every and self.requests % self.every == 0:
            self.failed += 1
            start("503 Service Unavailable", [("Content-Type", "application/xml")])
            return [b"<Error><Code>ServiceUnavailable</Code><Message>Reduce your rate.</Message></Error>"]
        return self._application(environ, start)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Unsteady]]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = Unsteady(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(places, "FIRST_WAIT", 0.001)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda base, growth_factor, attempts: 0.001)
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("fleets")
    yield "s3://fleets/one", application
    server.shutdown()
    server.server_close()


@pytest.mark.essential
def test_a_fleet_in_a_bucket_that_fails_now_and_then_is_that_of_a_folder(
    bucket: tuple[str, Unsteady], asked: Callable[..., list[Entry]], subjects: Any, unmeasured: Fleet, tmp_path: Path
) -> None:
    url, application = bucket
    entries = asked(subjects("rex"))
    folder, store = Folder(tmp_path / "place"), open_place(url)
    with ThisProcess() as here:
        run_fleet(entries, unmeasured, folder, here, lambda text: None)
    application.every = 3
    with ThisProcess() as here:
        summary = run_fleet(entries, unmeasured, store, here, lambda text: None)
    assert application.failed > 10
    assert len(summary.done) == 1
    assert store.names() == folder.names()
    (weights,) = [name for name in store.names() if name.endswith("pytorch_lora_weights.safetensors")]
    from safetensors.torch import load

    ours, theirs = load(store.read(weights) or b""), load(folder.read(weights) or b"")
    assert {n: t.numpy().tobytes() for n, t in ours.items()} == {n: t.numpy().tobytes() for n, t in theirs.items()}
    with ThisProcess() as here:
        again = run_fleet(entries, unmeasured, store, here, lambda text: None)
    assert len(again.before) == 1
    told = delete_subject(store, "rex")
    assert told["left"] == []
    assert not [name for name in store.names() if name.startswith("subjects/")]
