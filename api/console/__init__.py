"""The console: pages for people."""

from __future__ import annotations

from fastapi import FastAPI

from api.services import Services


def mount(app: FastAPI, services: Services) -> None:
    """Put the console's pages onto the app."""
