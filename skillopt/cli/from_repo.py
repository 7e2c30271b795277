"""``skillopt tasks from-repo``: looks at commits one by one and says what came of each."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from sandboxes.engine import AGENT_BASE_IMAGE
from sandboxes.registry import make_backend
from skillopt.cli import EXIT_FAILED, EXIT_INTERRUPTED
from skillopt.cli.common import output, show_text
from skillopt.config.network import access_to
from skillopt.core.files import to_json
from skillopt.core.text import printable
from skillopt.tasks.environment import Environments
from skillopt.tasks.judging import verifier_site
from skillopt.tasks.repository.history import Commit, History
from skillopt.tasks.repository.kinds import find_kind
from skillopt.tasks.repository.making import Made, Settings, Site, make_tasks
from skillopt.tasks.tables import TaskError

FORMAT = 1
_SHOWN = 72


def make_from_repo(
    *,
    repository: Path,
    folder: Path,
    ref: str,
    commits: int,
    limit: int,
    kind: str,
    base: str | None,
    setup: tuple[str, ...],
    test: str,
    timeout: int,
    as_json: bool,
) -> int:
    """Make the tasks; returns the exit code, which is 1 if there are none.

    Raises:
        TaskError: the repository cannot be read, or the folder exists.
        EngineUnavailableError: no engine answers.
    """
    history = History(repository.resolve())
    history.check_root()
    found = list(history.commits(ref, commits))
    if not found:
        raise TaskError(
            f"{repository}: no commit with one parent leads to {ref}; of a shallow clone, get the "
            "others with 'git fetch --unshallow'"
        )
    if folder.exists():
        raise TaskError(f"{folder}: already exists; name another folder")
    settings = Settings(
        kind=find_kind(history.names(ref), kind),
        base=base or AGENT_BASE_IMAGE,
        setup=setup,
        test=_words(test),
        timeout_s=timeout,
    )
    folder.mkdir(parents=True)
    made: list[Made] = []
    try:
        with closing(_each(history, found, settings, folder)) as looked_at:
            for one in looked_at:
                made.append(one)
                if not as_json:
                    show_text(output(), _line(one))
                if _count(made) == limit:
                    break
    except KeyboardInterrupt:
        again = f"; they are in {folder}, which is to be removed to begin again"
        advice = again if _count(made) else ""
        click.echo(printable(f"interrupted: {_summary(made, folder)[0]}{advice}"), err=True)
        return EXIT_INTERRUPTED
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
    if as_json:
        click.echo(to_json(_json(repository, settings, made)), nl=False)
    else:
        for line in _summary(made, folder):
            show_text(output(), line)
    return 0 if _count(made) else EXIT_FAILED


def _count(made: Sequence[Made]) -> int:
    """How many commits have become tasks."""
    return sum(one.folder is not None for one in made)


def _each(
    history: History, commits: Sequence[Commit], settings: Settings, folder: Path
) -> Generator[Made, None, None]:
    """What comes of each commit, in containers that have no network."""
    with (
        closing(make_backend("docker")) as backend,
        closing(backend.outlet(access_to("none", recorded=True), None)) as outlet,
    ):
        site = Site(Environments(backend), verifier_site(backend, outlet))
        yield from make_tasks(history, commits, settings, folder, site)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise TaskError(f"--test {command}: {error}; close it") from error


def _line(one: Made) -> str:
    subject = one.commit.subject
    subject = subject if len(subject) <= _SHOWN else f"{subject[:_SHOWN]}…"
    count = f"{one.tests} test{'s' if one.tests != 1 else ''}"
    flaky = f"; {len(one.flaky)} flaky left out" if one.flaky and one.folder else ""
    return f"{one.commit.id[:8]} {subject}: {count + flaky if one.folder else one.why}"


def _summary(made: list[Made], folder: Path) -> list[str]:
    tasks = sum(one.folder is not None for one in made)
    reasons = Counter(one.why.partition(":")[0] for one in made if one.folder is None)
    told = "; ".join(f"{count} {why}" for why, count in reasons.most_common())
    lines = [f"{tasks} of {len(made)} commits became tasks{f' ({told})' if told else ''}"]
    if tasks:
        lines += ["In a config:", "tasks:", f"  source: {folder}"]
    return lines


def _json(repository: Path, settings: Settings, made: list[Made]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "repository": str(repository),
        "kind": settings.kind.name,
        "tasks": sum(one.folder is not None for one in made),
        "commits": [
            {
                "commit": one.commit.id,
                "subject": one.commit.subject,
                "task": one.folder.name if one.folder else None,
                "why": one.why,
                "tests": one.tests,
                "flaky": list(one.flaky),
            }
            for one in made
        ],
    }
