"""What becomes of other people's task sets: read, validated, solved by their own solutions.

A task is tried if its base images are on this machine or can be pulled. What it scores counts only
if its tests have given a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.sources import Found, Source, plain, reasons, table
from sandboxes.backend import Backend
from sandboxes.base import SandboxError
from sandboxes.docker_backend import DockerBackend
from skillopt.config.network import Network, access_to
from skillopt.core.types import Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import TaskError, read_task
from skillopt.tasks.judging import VerifierSite, verifier_site
from skillopt.tasks.needs import count_needs
from skillopt.tasks.solving import try_task

COLUMNS = {
    "found": "found",
    "accepted": "accepted",
    "root": "root",
    "hosts": "hosts for tests",
    "container": "whole container",
    "own_skills": "own skills left out",
    "no solution": "without a solution",
    "out of reach": "base image out of reach",
    "tried": "tried",
    "no verdict": "tests gave no verdict",
    "solved": "solved by the solution",
}
_FROM = re.compile(r"^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.MULTILINE | re.IGNORECASE)
NETWORK: Network = ("registries", "installers")
"""What solutions and tests may reach here."""


def tasks(sources: Sequence[Source], workers: int) -> str:
    """The tables on task sets."""
    measured = {source: Found() for source in sources}
    accepted: list[tuple[Source, Task]] = []
    jobs = [(source, path) for source in sources for path in task_folders(source.folder)]
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(read, [path for _, path in jobs], chunksize=8)
        for (source, _), one in zip(jobs, results, strict=True):
            measured[source].add(counted(one))
            if isinstance(one, Task):
                accepted.append((source, one))
    with (
        closing(DockerBackend()) as backend,
        closing(backend.outlet(access_to(NETWORK, recorded=True), None)) as outlet,
    ):
        environments, site = Environments(backend), verifier_site(backend, outlet)
        bases: dict[str, bool] = {}
        for source, task in accepted:
            measured[source].add(tried(task, backend, environments, site, bases))
    total = Found()
    for found in measured.values():
        total.add(found)
    rows = [[s.name, s.commit[:12], *_numbers(found)] for s, found in measured.items()]
    rows.append(["**all**", "", *_numbers(total)])
    return "\n\n".join(
        [table(["source", "commit", *COLUMNS.values()], rows), reasons(measured.values())]
    )


def task_folders(folder: Path) -> Iterator[Path]:
    """The folders below a folder that have a ``task.toml``."""
    return (path.parent for path in sorted(folder.rglob("task.toml")))


def read(path: Path) -> Task | str:
    """A task, or why it is refused, without what is different in each."""
    try:
        return read_task(path)
    except TaskError as error:
        return plain(str(error).replace(f"{path.resolve()}/", ""))


def counted(one: Task | str) -> Found:
    """What reading a task came to."""
    found = Found()
    found.counts["found"] += 1
    if isinstance(one, str):
        found.reasons[f"refused: {one}"] += 1
        return found
    found.counts.update({"accepted": 1, **count_needs([one])})
    found.counts["no solution"] += not (one.folder / "solution" / "solve.sh").is_file()
    return found


def tried(
    task: Task,
    backend: Backend,
    environments: Environments,
    site: VerifierSite,
    bases: dict[str, bool],
) -> Found:
    """What trying a task came to.

    Args:
        bases: which images can be had, as far as known; what is found out is added.
    """
    found = Found()
    missing = [name for name in base_images(task) if not _had(name, backend, bases)]
    if missing:
        found.counts["out of reach"] += 1
        found.reasons[f"not tried: {missing[0]} cannot be had on this machine"] += 1
        return found
    try:
        trial = try_task(task, environments, site)
    except SandboxError as error:
        found.reasons[f"not tried: {plain(str(error))}"] += 1
        return found
    found.counts.update({"tried": 1, "solved": int(trial.solved is True)})
    if trial.solved is None:
        found.counts["no verdict"] += 1
    for problem in trial.problems:
        found.reasons[f"tried: {plain(problem.message)}"] += 1
    return found


def base_images(task: Task) -> list[str]:
    """The images that a task's own is made of, in order; stages of its own left out."""
    dockerfile = task.folder / "environment" / "Dockerfile"
    if not dockerfile.is_file():
        return [task.docker_image] if task.docker_image else []
    stages = _FROM.findall(dockerfile.read_text("utf-8", "replace"))
    own = {"scratch", *(alias for _, alias in stages)}
    return [name for name, _ in stages if name not in own and "$" not in name]


def _had(name: str, backend: Backend, bases: dict[str, bool]) -> bool:
    if name not in bases:
        try:
            backend.image(name)
            bases[name] = True
        except SandboxError:
            bases[name] = False
    return bases[name]


def _numbers(found: Found) -> list[str]:
    return [f"{found.counts[name]:,}" for name in COLUMNS]
