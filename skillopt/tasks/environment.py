"""What a task starts from: its image and its first workspace.

A Dockerfile that contains only one FROM, WORKDIR and COPY into WORKDIR needs no image of its own:
the FROM image runs, and what it has there and what is copied become the workspace. Any other is
built, and the workspace is what its image has in the working directory (files and folders; links
are left out). What only the image knows, :meth:`Environments.settled` asks it.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import tempfile
import threading
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from sandboxes.backend import Backend, Keeps
from sandboxes.base import HANDED, CopyRefusedError, Limits, Sandbox, SandboxError, SandboxSpec
from sandboxes.engine import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.trees import remove_tree
from skillopt.core.files import digest_of
from skillopt.core.import_path import PluginError, own_code
from skillopt.core.part_identity import identity_of
from skillopt.core.types import Task
from skillopt.tasks.dockerfile import SimpleDockerfile, read_simple
from skillopt.tasks.folders import contents
from skillopt.tasks.harbor import TaskError, folder_digest, has_own_image, own_skills
from skillopt.tasks.needs import places_of

Handover = Literal["auto", "container", "workdir"]
_ASK_S = 60.0
_LOG = logging.getLogger(__name__)


class Environments:
    """Prepares workspaces; builds and reads each image at most once. Safe to use from threads.

    Args:
        backend: provides the images; if its sandboxes run none, tasks that need an image of their
            own are refused.
        root: whether agents and verifiers are root of their containers where a task asks for it.
        handover: whether verifiers get the agent's whole container: ``auto`` where the tests look
            elsewhere than in the working directory, ``container`` always, ``workdir`` never. Tests
            with an image of their own get the working directory alone.
    """

    def __init__(self, backend: Backend, *, root: bool = True, handover: Handover = "auto") -> None:
        self._backend = backend
        self._root = root
        self._handover = handover
        self._lock = threading.Lock()
        self._images: dict[str, str] = {}
        self._contents: dict[tuple[str, str], Path] = {}
        self._workdirs: dict[str, str] = {}
        self._unavailable: set[str] = set()
        self._cache = tempfile.TemporaryDirectory(dir=scratch_dir())

    def close(self) -> None:
        """Remove what was read of images; nothing can be prepared afterwards."""
        self._cache.cleanup()

    def settled(self, task: Task) -> Task:
        """The task with what its image knows: the working directory, if its files do not tell. And
        with what this object's settings make of it.

        Raises:
            SandboxError: the image cannot be had.
        """
        if not self._root and (task.root or task.verifier_root):
            task = replace(task, root=False, verifier_root=False)
        if not task.workdir_known:
            image = self.image(task)
            with self._lock:
                if image not in self._workdirs:
                    self._workdirs[image] = self._ask_workdir(image)
                workdir = self._workdirs[image] or task.workdir
            places = places_of(task.folder, workdir)
            task = replace(task, workdir=workdir, workdir_known=True, handover=bool(places))
        handover = self._hands_over(task)
        return task if handover == task.handover else replace(task, handover=handover)

    def _hands_over(self, task: Task) -> bool:
        if not self.keeps or task.verify is not None or task.question or _has_own_image(task):
            return False
        return task.handover if self._handover == "auto" else self._handover == "container"

    @property
    def keeps(self) -> bool:
        """Whether images can be made of containers."""
        return isinstance(self._backend, Keeps)

    def discard(self, image: str) -> None:
        """Remove an image that was made of an agent's container; raises SandboxError."""
        if isinstance(self._backend, Keeps):
            self._backend.remove_image(image)

    def _ask_workdir(self, image: str) -> str:
        """The working directory of an image; empty if it has none below /."""
        if not self._backend.images:
            return ""
        with self._backend.sandbox(SandboxSpec(image, workdir="", single_command=True)) as box:
            said = box.run(["pwd"], deadline_s=_ASK_S)
        found = said.stdout.decode("utf-8", "replace").strip()
        return "" if said.exit_code != 0 or found == "/" else found

    def _have_base(self, task: Task) -> None:
        """Build the image of ``tasks.environment``, if the task starts from it."""
        if task.base is not None and task.base.folder is not None:
            self._check_images(task)
            try:
                with self._lock:
                    self._made(task.base.name, task.base.folder)
            except SandboxError as error:
                raise type(error)(f"tasks.environment: {task.base.file}: {error}") from error

    def prepare(self, task: Task, target: Path) -> str:
        """Write the task's first workspace to ``target``, which does not exist yet: without skills
        of the task's own, which a run without a skill must be without too.

        Args:
            task: that :meth:`settled` has returned.
            target: of the workspace.

        Returns:
            The image to run.

        Raises:
            SandboxError: the image cannot be built or read, or sandboxes run no images.
        """
        self._have_base(task)
        simple = None if task.workspace else simple_dockerfile(task)
        if task.workspace is not None:
            image = self.image(task)
            target.mkdir(parents=True)
            with own_code(f"the workspace of task {task.name}", task.workspace):
                task.workspace(target)
        elif simple is not None:
            image = self.present(simple.image)
            if self._backend.images and simple.image != AGENT_BASE_IMAGE:  # That one has no files.
                with self._lock:
                    shutil.copytree(self._content(task, image), target)
            prepare_workspace(task, simple, target)
        else:
            image, content = self._built(task)
            shutil.copytree(content, target)
        if task.workspace is None:
            for place in _own_skills():
                remove_tree(target / place)
        return image

    def verifier_image(self, task: Task, image: str) -> str:
        """The image of the task's verifier: one of its own, or that of the task.

        Args:
            task: whose verifier it is.
            image: of the task.

        Raises:
            SandboxError: it cannot be built or pulled.
        """
        if not _has_own_image(task):
            return image
        self._check_images(task)
        with self._lock:
            return self._had(task, task.verifier_image, task.folder / "tests")

    def image(self, task: Task) -> str:
        """The image of a task, as :meth:`prepare` returns it."""
        self._have_base(task)
        if task.workspace is not None or task.question:
            return self.present(task.docker_image or AGENT_BASE_IMAGE)
        simple = simple_dockerfile(task)
        return self.present(simple.image) if simple is not None else self._built(task)[0]

    def present(self, image: str) -> str:
        """An image, pulled if needed; raises SandboxError if it cannot be."""
        with self._lock:
            return self._made(image)

    def _made(self, image: str, folder: Path | None = None, timeout_s: float | None = None) -> str:
        """An image, built or pulled if needed. The caller must hold the lock."""
        if image not in self._images:
            self._images[image] = self._backend.image(image, folder, timeout_s)
        return self._images[image]

    def _built(self, task: Task) -> tuple[str, Path]:
        """The image of a task that has its own, and the content of its working directory."""
        self._check_images(task)
        with self._lock:
            image = self._had(task, task.docker_image, task.folder / "environment")
            return image, self._content(task, image)

    def _content(self, task: Task, image: str) -> Path:
        """What an image has in a task's working directory. The caller must hold the lock."""
        content = self._contents.get((image, task.workdir))
        if content is None:
            content = Path(self._cache.name) / str(len(self._contents))
            limits = Limits(disk_mb=task.disk_mb)
            with self._backend.sandbox(SandboxSpec(image, task.workdir, limits=limits)) as box:
                _copy_workdir(box, task.workdir, content)
            self._contents[image, task.workdir] = content
        return content

    def _had(self, task: Task, name: str | None, folder: Path) -> str:
        """An image by its name; or by the Dockerfile in a folder, if it has no name or cannot be
        had by it. The caller must hold the lock."""
        if name is not None and name not in self._unavailable:
            try:
                return self._made(name)
            except SandboxError as error:
                if not (folder / "Dockerfile").is_file():
                    raise
                _LOG.warning("%s cannot be had, so %s is built: %s", name, folder, error)
                self._unavailable.add(name)
        built = f"skillopt/task:{folder_digest(folder)[:12]}"
        return self._made(built, folder, task.build_timeout_s)

    def _check_images(self, task: Task) -> None:
        if not self._backend.images:
            raise SandboxError(
                f"{task.name}: needs a container image of its own; start a Docker engine "
                "('skillopt doctor' explains how), or use only FROM, WORKDIR and COPY in the "
                "Dockerfile"
            )


@cache
def _own_skills() -> tuple[str, ...]:
    """Where the agents look for skills in a working directory."""
    places = (place for name in CLI_AGENTS for place in agent_kind(name).folders.project)
    return tuple(dict.fromkeys((*places, ".opencode/skill")))  # OpenCode reads this one too.


def _copy_workdir(box: Sandbox, workdir: str, target: Path) -> None:
    """Copy a working directory out of its image, in which it may be a link to another folder."""
    try:
        box.copy_out(workdir, target)
    except CopyRefusedError:
        said = box.run(["readlink", "-f", "--", workdir], deadline_s=_ASK_S)
        place = said.stdout.decode("utf-8", "replace").strip()
        if said.exit_code != 0 or place in ("", "/", workdir):
            raise
        box.copy_out(place, target)


def _has_own_image(task: Task) -> bool:
    return has_own_image(task.folder, task.verifier_image)


def handed_image(name: str) -> str:
    """A new name for the image of an agent's container, from the rollout's key or the task."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24]
    return f"{HANDED}:{plain or 'task'}-{secrets.token_hex(8)}"


def given(task: Task) -> str:
    """A digest of what an agent gets of a task: instruction, environment, limits. Tests, solution
    and the verifier's own settings are not in it. Empty if it cannot be computed."""
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
    parts |= {k: str(v) for k in ("led", "max_turns", "root") if (v := getattr(task, k))}
    files, brings_skills = _environment(task.folder, task.digest)
    if brings_skills:
        parts["own skills"] = "left out"
    limits = [task.agent_timeout_s, task.memory_mb, task.cpus, task.disk_mb]
    place = [task.workdir, task.docker_image, task.env, task.question, files, parts]
    return digest_of([task.prompts, limits, place, *shared])


@lru_cache(4096)
def _environment(folder: Path, digest: str) -> tuple[str, bool]:
    """The digest of a task's environment, and whether it brings skills.

    Args:
        folder: of the task; there need not be one.
        digest: of the task, which changes with its files.
    """
    environment = folder / "environment"
    if not environment.is_dir():
        return "", False
    return folder_digest(environment), own_skills(folder)


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
    """Copy what a simple Dockerfile copies to ``target``, over what its image has there."""
    target.mkdir(parents=True, exist_ok=True)
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
