"""Completes an agent's work in sandboxes before a function of this process judges it.

What the agent wrote runs there and nowhere else, without the expected results.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandboxes.backend import Traits
from sandboxes.base import Limits, Mount, SandboxSpec
from sandboxes.errors import BackendError
from sandboxes.mounts import agent_ids, prepare_writable
from sandboxes.owner import scratch_dir
from skillopt.core.import_path import own_code
from skillopt.core.types import Finish, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.links import clean_workspace

FILES = "/skillopt/finish"
"""The folder of a program's own files in its sandbox."""
OUTPUT_CHARS = 20_000


@dataclass(frozen=True)
class Ending:
    """How a program ended.

    Args:
        exit_code: None if a limit ended it.
        limit: ``time``, ``memory``, ``disk`` or ``pids``; empty if none did.
        output: the end of what it wrote.
    """

    exit_code: int | None
    limit: str
    output: str


def check_images(task: Task, backend: Traits) -> None:
    """Check that a backend can run the programs of a task.

    Raises:
        BackendError: they need images, and its sandboxes run none.
    """
    images = [program.image for program in task.finish if program.image is not None]
    if images and not backend.images:
        raise BackendError(
            f"sandbox.kind: task {task.name} is judged with {', '.join(images)}, and "
            f"{backend.name!r} sandboxes run no images: set sandbox.kind to docker"
        )


def finish(
    task: Task,
    workspace: Path,
    site: VerifierSite,
    environments: Environments,
    image: str,
    folder: Path,
    limits: Limits,
) -> None:
    """Run the programs of a task on its workspace, and make what they leave harmless.

    Args:
        task: whose ``finish`` is run.
        workspace: what the agent left, made harmless; the programs change it.
        site: where they run.
        environments: provides the images of those that have their own.
        image: of the task.
        folder: the rollout's; in its ``verifier/`` each leaves how it ended.
        limits: that the agent had.

    Raises:
        SandboxError: a sandbox failed, or an image is missing. How the programs end is no failure.
    """
    for program in task.finish:
        its_image = image if program.image is None else environments.present(program.image)
        ending = _run(program, task, workspace, site, its_image, limits)
        clean_workspace(workspace, task.workdir, programs=False)
        kept = folder / "verifier"
        kept.mkdir(parents=True, exist_ok=True)
        ended = {"exit_code": ending.exit_code, "limit": ending.limit}
        (kept / f"{program.name}.json").write_text(json.dumps(ended) + "\n", "utf-8")
        (kept / f"{program.name}.txt").write_text(ending.output, "utf-8")


def ending(folder: Path, name: str) -> Ending:
    """How a program ended, from a rollout's folder."""
    kept = folder / "verifier"
    ended = json.loads((kept / f"{name}.json").read_text("utf-8"))
    output = (kept / f"{name}.txt").read_text("utf-8")
    return Ending(ended["exit_code"], ended["limit"], output)


def _run(
    program: Finish, task: Task, workspace: Path, site: VerifierSite, image: str, limits: Limits
) -> Ending:
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
        files = Path(name) / "files"
        files.mkdir()
        with own_code(f"finish {program.name} of task {task.name}", program.files):
            program.files(files)
        prepare_writable(files, *agent_ids())  # Mounted read-only, it belongs to the program.
        spec = SandboxSpec(
            image=image,
            workdir=task.workdir,
            mounts=(
                Mount(str(workspace), task.workdir, read_only=False),
                Mount(str(files), FILES),
            ),
            env=dict(task.env),
            limits=limits,
            single_command=True,
        )
        with site.sandbox(spec) as box:
            argv = ["python3", "-I", f"{box.path(FILES)}/run.py"]
            result = box.run(argv, deadline_s=program.timeout_s)
    output = (result.stdout + result.stderr).decode("utf-8", "replace")
    limit = "time" if result.timed_out else result.limit or ""
    return Ending(result.exit_code, limit, output[-OUTPUT_CHARS:])
