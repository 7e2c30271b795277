"""What a task starts from: its image and its first workspace.

A Dockerfile that contains only one FROM, WORKDIR and COPY into WORKDIR needs no image of its own:
the FROM image runs, and what is copied becomes the workspace. Any other is built, and the workspace
is what its image has in the working directory (files and folders; links are left out).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path, PurePosixPath

from sandboxes.backend import Backend
from sandboxes.base import Limits, SandboxError, SandboxSpec
from sandboxes.images import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from skillopt.core.files import digest_of
from skillopt.core.import_path import PluginError, own_code
from skillopt.core.part_identity import identity_of
from skillopt.core.types import Task
from skillopt.tasks.dockerfile import SimpleDockerfile, read_simple
from skillopt.tasks.folders import contents
from skillopt.tasks.harbor import TaskError, folder_digest


class Environments:
    """Prepares workspaces; builds and reads each image at most once. Safe to use from threads.

    Args:
        backend: provides the images; if its sandboxes run none, tasks that need an image of their
            own are refused.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._images: dict[str, str] = {}
        self._contents: dict[tuple[str, str], Path] = {}
        self._cache = tempfile.TemporaryDirectory(dir=scratch_dir())

    def prepare(self, task: Task, target: Path) -> str:
        """Write the task's first workspace to ``target``, which does not exist yet.

        Returns:
            The image to run.

        Raises:
            SandboxError: the image cannot be built or read, or sandboxes run no images.
        """
        simple = None if task.workspace else simple_dockerfile(task)
        if task.workspace is not None:
            image = self.image(task)
            target.mkdir(parents=True)
            with own_code(f"the workspace of task {task.name}", task.workspace):
                task.workspace(target)
        elif simple is not None:
            image = self.present(simple.image)
            prepare_workspace(task, simple, target)
        else:
            image, content = self._built(task)
            shutil.copytree(content, target)
        return image

    def image(self, task: Task) -> str:
        """The image of a task, as :meth:`prepare` returns it."""
        if task.question and task.workspace is None:
            return AGENT_BASE_IMAGE
        if task.workspace is not None:
            return self.present(task.docker_image or AGENT_BASE_IMAGE)
        simple = simple_dockerfile(task)
        return self.present(simple.image) if simple is not None else self._built(task)[0]

    def present(self, image: str) -> str:
        """An image, pulled if needed; raises SandboxError if it cannot be."""
        with self._lock:
            return self._made(image)

    def _made(self, image: str, folder: Path | None = None) -> str:
        """An image, built or pulled if needed. The caller must hold the lock."""
        if image not in self._images:
            self._images[image] = self._backend.image(image, folder)
        return self._images[image]

    def _built(self, task: Task) -> tuple[str, Path]:
        """The image of a task that has its own, and the content of its working directory."""
        if not self._backend.images:
            raise SandboxError(
                f"{task.name}: needs a container image of its own; start a Docker engine "
                "('skillopt doctor' explains how), or use only FROM, WORKDIR and COPY in the "
                "Dockerfile"
            )
        with self._lock:
            if task.docker_image is not None:
                image = self._made(task.docker_image)
            else:
                folder = task.folder / "environment"
                image = self._made(f"skillopt/task:{folder_digest(folder)[:12]}", folder)
            content = self._contents.get((image, task.workdir))
            if content is None:
                content = Path(self._cache.name) / str(len(self._contents))
                limits = Limits(disk_mb=task.disk_mb)
                with self._backend.sandbox(SandboxSpec(image, task.workdir, limits=limits)) as box:
                    box.copy_out(task.workdir, content)
                self._contents[image, task.workdir] = content
        return image, content


def given(task: Task) -> str:
    """A digest of what an agent gets of a task: instruction, environment, limits. Tests, solution
    and the verifier's own settings are not in it. Empty if it cannot be computed."""
    environment = task.folder / "environment"
    try:
        parts = {
            name: identity_of(part, name)
            for name in ("workspace", "companion")
            if (part := getattr(task, name)) is not None
        }
        shared = [contents(task)] if task.folders else []
    except (PluginError, TaskError):
        return ""
    # Those that came later count only if they are set, so that older digests hold.
    parts |= {k: str(v) for k in ("led", "max_turns") if (v := getattr(task, k))}
    limits = [task.agent_timeout_s, task.memory_mb, task.cpus, task.disk_mb]
    files = folder_digest(environment) if environment.is_dir() else ""
    place = [task.workdir, task.docker_image, task.env, task.question, files, parts]
    return digest_of([task.prompts, limits, place, *shared])


def simple_dockerfile(task: Task) -> SimpleDockerfile | None:
    """The task's Dockerfile if it needs no image of its own, else None."""
    context = task.folder / "environment"
    if task.docker_image is not None or (context / ".dockerignore").exists():
        return None
    simple = read_simple((context / "Dockerfile").read_text(encoding="utf-8"), task.workdir)
    if simple is None:
        return None
    sources = [context / source for copy in simple.copies for source in copy.sources]
    # The builder has to report missing sources and resolve links.
    plain = all(path.exists() and not _has_links(path) for path in sources)
    return simple if plain else None


def prepare_workspace(task: Task, simple: SimpleDockerfile, target: Path) -> None:
    """Copy what a simple Dockerfile copies to ``target``, which does not exist yet."""
    target.mkdir(parents=True)
    for copy in simple.copies:
        place = target / PurePosixPath(copy.target).relative_to(task.workdir)
        for source in (task.folder / "environment" / name for name in copy.sources):
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
                continue
            file = place / source.name if copy.into or place.is_dir() else place
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, file)


def _has_links(path: Path) -> bool:
    return path.is_symlink() or (path.is_dir() and any(p.is_symlink() for p in path.rglob("*")))
