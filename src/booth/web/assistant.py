"""The studio's verbs as tools for an assistant, at /mcp. It may look; to train and draw it needs a switch at the start.

The same check stands before it as before every page: the token, here as a bearer.
"""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from booth import __version__
from booth.core.errors import UsageError
from booth.web import plans
from booth.web.catalogue import Catalogue
from booth.web.pages import draw, runs, wall
from booth.web.pages.draw import concepts_of
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.photos import shown as set_shown
from booth.web.photos import PhotoSets
from booth.web.runs import Place
from booth.web.studio import Studio

LINES = 20  # of a run's log
ABOUT = (
    "Teaches a text-to-image model new subjects from photos. Look at the sets of photos, start a training, follow its "
    "run, look at its wall for the best checkpoint, draw with the concept."
)


def make_assistant(studio: Studio, catalogue: Catalogue) -> MCPServer:
    """The tools; those that change anything only where the studio was opened so."""
    server = MCPServer("booth studio", version=__version__, instructions=ABOUT, log_level="WARNING")

    def place_of(key: str) -> Place:
        place = studio.places.get(key)
        if place is None:
            raise UsageError(
                f"There is no run or concept {key!r}.", "List them first.", code="studio.no_such_run", field="key"
            )
        return place

    @server.tool()
    def list_photo_sets() -> list[dict[str, Any]]:
        """Every set of photos with its id and the verdicts on its photos."""
        return [set_shown(s) for s in PhotoSets(studio.home).all()]

    @server.tool()
    def list_methods() -> list[dict[str, Any]]:
        """Every method: what it trains, what it saves, its default settings."""
        keys = ("name", "title", "trains", "files", "defaults")
        return [{k: m[k] for k in keys} for m in catalogue.get()["methods"].values()]

    @server.tool()
    def list_runs() -> list[dict[str, Any]]:
        """Every run with its state and how far it is."""
        places = [p for p in studio.places.all() if p.has_run]
        return [runs.told(studio, p, studio.places.digest(p)) for p in places]

    @server.tool()
    def look_at_run(run: str) -> dict[str, Any]:
        """One run: state, smoothed losses, scores, the last lines of its log."""
        place = place_of(run)
        told = runs.live(studio, place, studio.places.digest(place))
        return told | {"log": told["log"][-LINES:]}

    @server.tool()
    def look_at_wall(concept: str) -> dict[str, Any]:
        """Which checkpoint of a concept is best, and why."""
        return wall.measured(studio, place_of(concept)) or {"measured": False}

    @server.tool()
    def list_concepts() -> list[dict[str, Any]]:
        """Every finished concept."""
        return concepts_of(studio, catalogue)

    @server.tool()
    def list_jobs() -> list[dict[str, Any]]:
        """Every job with its state and, if it failed, the reason."""
        return [job_shown(studio, job) for job in studio.library.all()]

    if studio.training_by_assistant:
        _add_doing(server, studio, catalogue)
    return server


def _add_doing(server: MCPServer, studio: Studio, catalogue: Catalogue) -> None:
    """What changes something."""

    @server.tool()
    def train(photo_set: str, plan: plans.Plan) -> dict[str, Any]:
        """Queue a training, or a race of several methods, of a set of photos."""
        return job_shown(studio, plans.queue(studio, catalogue, photo_set, plan))

    @server.tool()
    def draw_pictures(drawing: draw.Drawing) -> dict[str, Any]:
        """Queue a drawing."""
        return job_shown(studio, draw.queue(studio, drawing))

    @server.tool()
    def stop_job(job: str) -> dict[str, Any]:
        """End a job; what is saved stays."""
        found = studio.library.get(job)
        if found is None:
            raise UsageError(f"There is no job {job!r}.", "List them first.", code="studio.no_such_job", field="job")
        studio.keeper.cancel(found)
        return job_shown(studio, studio.library.get(job) or found)


def application(server: MCPServer) -> Starlette:
    """It as a part of the studio's application. Hosts and origins are checked before."""
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(stateless_http=True, json_response=True, transport_security=unchecked)
