"""The prompts of the methods that are written here: Markdown templates in ``prompts``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from skillopt.optimizer.render import fenced

FOLDER = Path(__file__).parent / "prompts"


def render(name: str, **values: object) -> str:
    """A prompt.

    Args:
        name: of the template, without ``.md``.
        values: its variables; one that is missing is an error.
    """
    return _environment().get_template(f"{name}.md").render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = lambda text: fenced(str(text))
    return environment
