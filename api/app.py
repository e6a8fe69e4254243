"""The HTTP application: routes, problem documents, and nothing that computes."""

from __future__ import annotations

from fastapi import FastAPI

from api import problems
from api.routes import figures, sites, system
from api.services import Services
from api.version import version

PREFIX = "/api/v1"


def create_app(services: Services) -> FastAPI:
    """The API of one installation."""
    app = FastAPI(
        title="Tanyuan 碳园",
        version=version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    app.state.services = services
    problems.install(app)
    app.include_router(system.doors)
    for router in (figures.router, sites.router, system.router):
        app.include_router(router, prefix=PREFIX)
    return app
