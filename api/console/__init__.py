"""The console: pages for people."""

from __future__ import annotations

from fastapi import FastAPI

from api.services import Services


def mount(app: FastAPI, services: Services) -> None:
    """Put the console's pages onto the app."""
    # The pages' framework takes a while to import; commands that serve nothing do without it.
    from api.console import park_page, plain_pages

    app.include_router(plain_pages.router(services))
    park_page.install(app, services)
