"""The studio as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from booth import __version__
from booth.core.errors import BoothError, DiskFullError, NotAvailableError
from booth.web.assistant import application, make_assistant
from booth.web.catalogue import Catalogue
from booth.web.messages import words_of
from booth.web.pages import compare, concepts, draw, entrance, jobs, media, photos, plan, runs, settings, wall
from booth.web.plans import still_the_same
from booth.web.safety import Guard, TooLarge
from booth.web.studio import Studio
from booth.web.view import FOLDER, page


class Refusal(BaseModel):
    """Why something was not done; `error` is all of it for people."""

    error: str
    code: str
    field: str | None = None
    sentence: str = ""
    advice: str = ""
    problems: list[dict[str, Any]] = []


# What may be answered to any request; the interface's description tells of it.
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "What was asked for makes no sense"},
    401: {"model": Refusal, "description": "The token is missing or an old one"},
    403: {"model": Refusal, "description": "A page of another site asked"},
    404: {"model": Refusal, "description": "There is nothing here"},
    405: {"model": Refusal, "description": "This method is not allowed"},
    409: {"model": Refusal, "description": "This cannot be done now"},
    413: {"model": Refusal, "description": "More was sent than is taken"},
    415: {"model": Refusal, "description": "Another kind of content was sent than is taken"},
    422: {"model": Refusal, "description": "What was sent has another form than this description says"},
    507: {"model": Refusal, "description": "The disk is full"},
}


def create_app(studio: Studio) -> FastAPI:
    """The application; its keeper runs while it is served."""

    catalogue = Catalogue(studio.home)
    assistant = make_assistant(studio, catalogue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        studio.keeper.after["train"] = lambda job: wall.after_training(studio, job)
        studio.keeper.after["forecast"] = lambda job: plan.remember(studio, job)
        studio.keeper.before["train"] = lambda job: still_the_same(studio.home, job)
        studio.keeper.checks["export"] = lambda job, result: concepts.exported(studio, job, result)
        studio.keeper.start()
        catalogue.begin()
        async with assistant.session_manager.run():
            yield
        studio.keeper.stop()
        studio.library.close()

    app = FastAPI(
        title="booth studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json", responses=REFUSALS,
    )  # fmt: skip
    app.state.studio, app.state.catalogue = studio, catalogue
    for module in (entrance, photos, plan, runs, draw, concepts, compare, wall, settings, jobs, media):
        app.include_router(module.router)
    app.router.routes.extend(application(assistant).routes)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(BoothError, _failed)
    app.add_exception_handler(TooLarge, _too_large)
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    app.add_middleware(Guard, door=studio.door)
    return app


def wants_page(request: Request) -> bool:
    """Whether a person asked, and not a script."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _refused(request: Request, error: Any) -> Response:
    status = error.status_code
    if wants_page(request):
        return page(request, "error.html", status=status, code=status)
    key, words = f"error.{status}", words_of(request)
    return JSONResponse({"error": words.either(key, words("error.other")), "code": key}, status)


def _misread(request: Request, error: Any) -> Response:
    """What was sent has another form than the interface's description says."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    told = words_of(request).told(first["msg"])
    return JSONResponse({"error": f"{where}: {told}", "code": "form", "field": where}, 422)


def _failed(request: Request, error: Any) -> Response:
    """What the person asked for makes no sense, or cannot be had here."""
    status = 507 if isinstance(error, DiskFullError) else 409 if isinstance(error, NotAvailableError) else 400
    return JSONResponse(
        _told(request, error) | {"problems": [_told(request, problem) for problem in error.problems]}, status
    )


def _told(request: Request, error: BoothError) -> dict[str, Any]:
    """An error's values in the language of the page; `error` is all of it as one text."""
    said = words_of(request).told
    return error.to_json() | {
        "sentence": said(error.sentence), "advice": said(error.advice), "error": said(str(error))
    }  # fmt: skip


def _too_large(request: Request, error: Any) -> Response:
    return JSONResponse({"error": words_of(request)("error.413"), "code": "error.413"}, 413)
