"""The documentation's site: it builds, is complete, needs no other server, and cannot drift."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import click
import pytest

from skillopt.cli import COMMANDS
from skillopt.config.schema import Config
from tests.helpers.documents import ROOT

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that make a browser ask for something, and where."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    config = ROOT / "docs" / "site" / "mkdocs.yml"
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", config, "-d", folder]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Asked(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADED and values.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(values.get(LOADED[tag]) or "")
        self.found += re.findall(r"url\(([^)]*)\)", values.get("style") or "")


@pytest.mark.slow
def test_no_page_asks_another_server_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(COMMANDS) + 10
    for page in pages:
        asked = Asked()
        asked.feed(page.read_text("utf-8"))
        assert len(asked.found) > 3
        for url in asked.found:
            assert not re.match(r"[a-z]+:|//", url.strip("'\" ")), f"{page.name}: {url}"
            if page.name != "404.html" and url and not url.startswith("#"):
                assert (page.parent / url.partition("?")[0]).is_file(), f"{page.name}: {url}"
    for style in site.rglob("*.css"):
        for url in re.findall(r"url\(([^)]*)\)|@import +([^;]+)", style.read_text("utf-8")):
            assert not re.match(r"https?:|//", "".join(url).strip("'\" ")), f"{style.name}: {url}"


@pytest.mark.slow
def test_the_search_works_without_a_server(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text("utf-8")
    pages = json.loads(index.removeprefix("var __index = "))["docs"]
    places = {page["location"].partition("#")[0] for page in pages}
    assert {"index.html", "commands/deploy.html", "configuration.html"} <= places
    assert "iframe-worker.js" in (site / "index.html").read_text("utf-8")
    assert (site / "iframe-worker.js").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_page_with_all_options(
    command: str, site: Path, hooks: ModuleType
) -> None:
    page = site / "commands" / f"{command}.html"
    assert 'id="reference"' in page.read_text("utf-8")
    assert f"commands/{command}.html" in (site / "index.html").read_text("utf-8")
    made = importlib.import_module(f"skillopt.cli.{command}_command").command
    parts = made.commands.values() if isinstance(made, click.Group) else [made]
    options = [o for part in parts for p in part.params for o in p.opts if o.startswith("--")]
    reference = hooks.command_reference(command)
    assert [o for o in options if not re.search(rf"\| `.*{o}\b", reference)] == []


def test_no_page_is_of_a_command_that_is_not_there() -> None:
    written = {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")}
    assert written - {"index"} <= set(COMMANDS)


@pytest.mark.slow
def test_every_key_of_the_config_is_in_the_reference(site: Path, hooks: ModuleType) -> None:
    reference = hooks.configuration_reference()
    sections = hooks.sections()
    assert len(sections) > 15 and set(Config.model_fields) >= {"transfer", "train"}
    for model, path in sections.items():
        own = reference.partition(f"### {path or 'The top level'}\n")[2].partition("\n### ")[0]
        for name in model.model_fields:
            assert f"| `{name}` | " in own, f"{path}.{name}"
    assert "| `epochs` | number, ≥ 1 | `4` |" in reference
    assert "| `memory` | `true`, `false` | `true` | Whether the optimizer is shown" in reference
    assert "Where the tasks come from" in (site / "configuration.html").read_text("utf-8")
