"""What the documents as a whole promise: a short README, a map that is the code's, no lost page."""

from __future__ import annotations

import importlib.util
import re
import tomllib

from tests.helpers.documents import ROOT, documents


def read(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(re.sub(r"```.*?```", "", read("README.md"), flags=re.DOTALL).split()) <= 1200


def test_the_map_has_every_room_and_no_other() -> None:
    rooms = {
        path.parent.relative_to(ROOT).as_posix()
        for package in ("skillopt", "harnesses")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    mapped = re.findall(r"^\| `([\w/]+)` \| ", read("docs/design.md"), re.MULTILINE)
    assert sorted(mapped) == sorted([*rooms, "sandboxes"])


def test_the_floors_are_those_that_the_linter_checks() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    section = read("docs/design.md").partition("## Rooms")[2]
    for contract in contracts:
        if "containers" in contract:
            (package,) = contract["containers"]
            drawn = re.search(
                rf"^{package} +(.*?)(?:\n\n|\n```)", section, re.DOTALL | re.MULTILINE
            )
            assert drawn is not None
            assert [line.strip() for line in drawn[1].split("\n")] == contract["layers"]


def test_every_document_is_in_the_navigation() -> None:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None and spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    pages = set(re.findall(r"'([\w/-]+\.md)'", repr(hooks.PAGES)))
    assert pages == {
        document.removeprefix("docs/")
        for document in documents()
        if document.startswith("docs/") and not re.match("docs/commands/(?!index)", document)
    }


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, new = set(), {"README.md"}
    while new:
        document = new.pop()
        reached.add(document)
        links = re.findall(r"\]\((?!http)([^)#]+\.md)(?:#[^)]*)?\)", read(document))
        found = {((ROOT / document).parent / link).resolve() for link in links}
        new |= {path.relative_to(ROOT).as_posix() for path in found} - reached
    assert set(documents()) <= reached
