"""Templates into HTML. Everything filled in is escaped: payloads and names come from outside."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from api.console.catalogue import HTML_LANGUAGE, Texts


@cache
def style() -> str:
    """The style sheet, which every page carries itself."""
    return resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(template: str, texts: Texts, **filled: object) -> str:
    """A section or a page in one language."""
    return _templates().get_template(template).render(t=texts, **filled)


def render_page(template: str, texts: Texts, *, title: str, **filled: object) -> str:
    """A whole page that stands for itself, without scripts."""
    return render(
        template,
        texts,
        title=title,
        html_language=HTML_LANGUAGE[texts.language],
        style=style(),
        theme="",
        **filled,
    )
