"""The page: one HTML document that loads nothing, and is inert whatever it shows.

All data is in a JSON block; scripts put it into the document as text, never as markup. The content
security policy allows only these scripts and this style.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from skillopt.core.text import printable

SCRIPTS = (
    "dom",
    "format",
    "charts",
    "overview",
    "entries",
    "remarks",
    "tasks",
    "rollouts",
    "viewer",
    "compare",
    "app",
)


def render(data: Mapping[str, Any], title: str, *, live: bool = False) -> str:
    """The page around some data.

    Args:
        data: what the scripts expect: ``runs``, ``trajectories``, ``rule``; see :mod:`.document`.
        title: the page's title.
        live: whether it may ask the server that it came from.
    """
    style = _asset("style.css")
    script = _script()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_asset("page.html"))
    return template.render(
        title=title,
        policy=policy(live),
        style=_verbatim(style),
        script=_verbatim(script),
        data=_verbatim(_json_block(data)),
    )


def render_still(template: str, title: str, **values: object) -> str:
    """A page in the same style without any script.

    Args:
        template: name of the asset.
        title: the page's title.
        values: for the template; texts are escaped.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = lambda text: printable(str(text))
    style = still_style()
    allowed = f"default-src 'none'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    return environment.from_string(_asset(template)).render(
        title=title, policy=allowed, style=_verbatim(style), **values
    )


def still_style() -> str:
    """The style of :func:`render_still`."""
    return _asset("style.css") + _asset("still.css")


@cache
def policy(live: bool) -> str:
    """The content security policy of the page."""
    source = "'self'" if live else "'none'"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(_script())}'",
            f"style-src '{_hash(_asset('style.css'))}'",
            f"connect-src {source}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


@cache
def _script() -> str:
    """All scripts as one function: they share their names and add none to the window."""
    parts: Sequence[str] = [_asset(f"{name}.js") for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"


@cache
def _asset(name: str) -> str:
    return (Path(str(files("skillopt.report"))) / "assets" / name).read_text("utf-8")


def _verbatim(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # The project's own files, and JSON without markup


def _json_block(data: Mapping[str, Any]) -> str:
    """JSON that cannot end its script block: it contains no ``<``, ``>`` or ``&``."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
