"""What a project's tests depend on, read from its files without running any of them."""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skillopt.tasks.tables import TaskError

_EXTRAS = ("test", "tests", "testing", "dev", "develop")
"""Names of optional dependencies that tests need, in ``pyproject.toml`` and ``setup.cfg``."""


def python_needs(project: Path) -> dict[str, str]:
    """The requirements of a project that can be read without running it."""
    wanted = ["pytest"]
    pyproject = project / "pyproject.toml"
    if pyproject.is_file():
        wanted += _of_pyproject(_toml(pyproject))
    if (project / "setup.cfg").is_file():
        wanted += _of_setup_cfg(project / "setup.cfg")
    if (project / "setup.py").is_file():
        wanted += _of_setup_py(project / "setup.py")
    files = sorted(project.glob("*requirements*.txt")) + sorted(project.glob("requirements/*.txt"))
    for file in files:
        lines = file.read_text("utf-8", "replace").splitlines()
        wanted += [line for line in lines if not line.lstrip().startswith(("-", "#", "."))]
    named = {re.split(r"[<>=!~;\[ (@]", one.strip())[0].lower(): one.strip() for one in wanted}
    named.pop("", None)
    return {"requirements.txt": "".join(f"{one}\n" for one in named.values())}


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise TaskError(f"{file}: not valid TOML: {error}") from error


def _of_pyproject(content: Mapping[str, Any]) -> list[str]:
    project, groups = content.get("project", {}), content.get("dependency-groups", {})
    optional = project.get("optional-dependencies", {})
    lists = [project.get("dependencies", [])]
    lists += [table[name] for table in (optional, groups) for name in _EXTRAS if name in table]
    return [one for each in lists for one in each if isinstance(one, str)]


def _of_setup_cfg(file: Path) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, "utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read: {error}") from error
    texts = [parser.get("options", "install_requires", fallback="")]
    texts += [parser.get("options.extras_require", name, fallback="") for name in _EXTRAS]
    return [line for text in texts for line in text.splitlines()]


def _of_setup_py(file: Path) -> list[str]:
    """The literal lists of requirements in a ``setup.py``, which is not run."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise TaskError(f"{file}: cannot be read: {error}") from error
    given = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    lists = [node.value for node in given if node.arg in ("install_requires", "tests_require")]
    texts = [text for each in lists if isinstance(each, ast.List) for text in each.elts]
    return [
        one.value for one in texts if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def package(project: Path) -> dict[str, Any]:
    """The content of ``package.json``; raises TaskError if it cannot be read."""
    try:
        content = json.loads((project / "package.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(f"{project / 'package.json'}: cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


def node_needs(project: Path) -> dict[str, str]:
    """The dependencies alone: scripts of the project do not run when they are installed."""
    content = package(project)
    kept = {k: content[k] for k in ("dependencies", "devDependencies") if k in content}
    files = {"package.json": json.dumps({"name": "project", "version": "0.0.0", **kept})}
    lock = project / "package-lock.json"
    return {**files, lock.name: lock.read_text("utf-8")} if lock.is_file() else files


def files_named(*names: str) -> Callable[[Path], dict[str, str]]:
    """What gives the files of some names at a project's root that are there."""

    def needs(project: Path) -> dict[str, str]:
        there = [project / name for name in names if (project / name).is_file()]
        return {file.name: file.read_text("utf-8") for file in there}

    return needs
