"""What a project's folder says of itself: its language, its tests, its container. Runs nothing."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skillopt.tasks.devcontainer import find_devcontainer, read_devcontainer
from skillopt.tasks.harbor import TaskError

MAX_BYTES = 2_000_000
"""The most of a file that is read."""
_DOCKERFILES = ("Dockerfile", "Containerfile", ".docker/Dockerfile", "docker/Dockerfile")
_LOCKS = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}


@dataclass(frozen=True)
class Environment:
    """A file that tasks can start from.

    Args:
        path: relative to the project.
        problem: why it cannot be used; empty if nothing is known to be wrong.
    """

    path: Path
    problem: str = ""


@dataclass(frozen=True)
class Project:
    """What was found in a project's folder.

    Args:
        languages: as their manifests tell, the first the likeliest.
        test_command: of its tests; empty if it is not known.
        environments: the devcontainer.json first.
        tasks: folders of task folders, relative to the project.
        history: whether it is a git repository.
    """

    languages: tuple[str, ...] = ()
    test_command: str = ""
    environments: tuple[Environment, ...] = ()
    tasks: tuple[Path, ...] = ()
    history: bool = False


def look_at(folder: Path) -> Project:
    """What a project's folder says of itself."""
    known = [(language, command(folder)) for language, names, command in _LANGUAGES
             if any((folder / name).is_file() for name in names)]  # fmt: skip
    commands = [_make(folder), *(command for _, command in known)]
    return Project(
        languages=tuple(language for language, _ in known),
        test_command=next(filter(None, commands), ""),
        environments=tuple(_environments(folder)),
        tasks=tuple(_task_folders(folder)),
        history=(folder / ".git").exists(),
    )


def text_of(file: Path) -> str:
    """The beginning of a file as text; empty if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _environments(folder: Path) -> list[Environment]:
    found = []
    several = sorted(folder.glob(".devcontainer/*/devcontainer.json"))[:20]
    one = find_devcontainer(folder)
    for file in dict.fromkeys([*([one] if one else []), *several]):
        found.append(Environment(file.relative_to(folder), _problem(file)))
    found += [Environment(Path(name)) for name in _DOCKERFILES if (folder / name).is_file()]
    return found


def _problem(file: Path) -> str:
    try:
        read_devcontainer(file)
    except TaskError as error:
        return str(error)
    return ""


def _task_folders(folder: Path) -> list[Path]:
    patterns = ("*/task.toml", "train/*/task.toml")
    found = (
        next(folder.glob(f"{name}/{pattern}"), None)
        for name in ("tasks", "evals")
        for pattern in patterns
    )
    return [*dict.fromkeys(Path(f.relative_to(folder).parts[0]) for f in found if f is not None)]


def _make(folder: Path) -> str:
    text = next(filter(None, (text_of(folder / name) for name in ("Makefile", "makefile"))), "")
    return "make test" if re.search(r"^test\s*:(?!=)", text, re.MULTILINE) else ""


def _node(folder: Path) -> str:
    try:
        scripts = json.loads(text_of(folder / "package.json")).get("scripts", {})
        has_test = bool(scripts.get("test")) and "no test specified" not in str(scripts["test"])
    except (ValueError, AttributeError, RecursionError):
        return ""
    manager = next((tool for lock, tool in _LOCKS.items() if (folder / lock).is_file()), "npm")
    return f"{manager} test" if has_test else ""


def _python(folder: Path) -> str:
    try:
        tools = tomllib.loads(text_of(folder / "pyproject.toml")).get("tool", {})
    except (tomllib.TOMLDecodeError, RecursionError):
        tools = {}
    if (folder / "tox.ini").is_file() and "pytest" not in tools:
        return "tox"
    uses = "pytest" in tools or any((folder / name).is_file() for name in ("pytest.ini",
           "conftest.py", "tests/conftest.py")) or any(folder.glob("tests/test_*.py"))  # fmt: skip
    return "python -m pytest" if uses else ""


def _fixed(command: str) -> Callable[[Path], str]:
    return lambda folder: command


_LANGUAGES: tuple[tuple[str, tuple[str, ...], Callable[[Path], str]], ...] = (
    ("Python", ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"), _python),
    ("Node", ("package.json",), _node),
    ("Go", ("go.mod",), _fixed("go test ./...")),
    ("Rust", ("Cargo.toml",), _fixed("cargo test")),
    ("Java", ("pom.xml",), _fixed("mvn -q test")),
    ("Java", ("build.gradle", "build.gradle.kts"), _fixed("./gradlew test")),
    ("Ruby", ("Gemfile",), _fixed("bundle exec rake test")),
    ("C or C++", ("CMakeLists.txt",), _fixed("ctest")),
)
"""Languages, the files that tell them, and how their tests are usually run."""
