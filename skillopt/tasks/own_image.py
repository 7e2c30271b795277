"""The image of ``tasks.environment``, from which all tasks without an environment of their own
start: a Dockerfile, a ``devcontainer.json``, or the name of an image.

What is built is first copied to a folder beside the generated tasks, without what scores the tasks:
eval files, task folders, skills and runs. So a Dockerfile that copies its whole context, and a
container that has the project as its working directory, show none of that to an agent.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from skillopt.config.schema import Config
from skillopt.core.types import BaseImage
from skillopt.tasks.devcontainer import Devcontainer, find_devcontainer, read_devcontainer
from skillopt.tasks.dockerfile import final_workdir
from skillopt.tasks.evals.hiding import FOLDER
from skillopt.tasks.evals.reading import eval_files
from skillopt.tasks.generated import put
from skillopt.tasks.harbor import TaskError, folder_digest
from skillopt.tasks.tables import read_text

MAX_BYTES = 500_000_000
MAX_FILES = 50_000
DOCKERFILE_BYTES = 1_000_000
_PROJECT = ".skillopt-project"
"""The folder of the context with the project's files."""
_IMAGE = re.compile(r"[a-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")
_CONFIG_BYTES = 20_000
_CONFIG_KEYS = frozenset(name.encode() for name in ("base", *Config.model_fields))
_NOT_THE_PROJECTS = (
    *("**/.git", "**/.hg", "**/.svn", "**/node_modules", "**/.venv", "**/venv", "**/__pycache__"),
    *("**/.env", "**/.env.*", "**/.npmrc", "**/.pypirc", "**/.netrc", "**/*.pem", "**/id_rsa*"),
    *("**/.claude", "**/.agents", "**/.codex", "**/.opencode", "**/.DS_Store"),
)
"""What a project's folder has and a checkout of it has not, and the agents' own folders."""


def own_image(environment: str, source: str, made: Path) -> BaseImage:
    """The image that ``tasks.environment`` describes; it is not built yet.

    Args:
        environment: a ``devcontainer.json``, a Dockerfile, a folder that has one of the two, or the
            name of an image.
        source: ``tasks.source``, whose files are not copied.
        made: folder of generated tasks in the folder of runs, below which the build's files are
            copied.

    Raises:
        TaskError: it is none of these or cannot be used. The message names the file and its line.
    """
    path = Path(environment)
    if path.is_dir():
        path = _in_folder(path)
    if path.is_file():
        hidden = _hidden(source, made)
        if path.suffix == ".json":
            return _from_devcontainer(read_devcontainer(path), hidden, made)
        return _from_dockerfile(path.absolute(), hidden, made)
    if looks_like_path(environment) or not _IMAGE.fullmatch(environment):
        raise TaskError(
            f"tasks.environment: {environment}: no such file or folder, and not the name of an "
            "image; name a devcontainer.json, a Dockerfile or an image"
        )
    return BaseImage(environment)


def looks_like_path(text: str) -> bool:
    """Whether a text is meant to be a path and not the name of an image."""
    last = PurePosixPath(text).name.lower()
    return text.startswith((".", "/", "~")) or "dockerfile" in last or last.endswith(".json")


def _in_folder(folder: Path) -> Path:
    found = find_devcontainer(folder) or folder / "Dockerfile"
    if not found.is_file():
        raise TaskError(
            f"tasks.environment: {folder}: has neither a devcontainer.json nor a Dockerfile (or "
            "several devcontainer.json); name the file"
        )
    return found


def _from_dockerfile(file: Path, hidden: Sequence[Path], made: Path) -> BaseImage:
    text = _dockerfile(file)
    folder = _staged({}, file.parent if _copies(text) else None, text, hidden, made)
    workdir = final_workdir(text) or "/"
    return BaseImage(_tag(folder), folder, "" if workdir == "/" else workdir, file=str(file))


def _from_devcontainer(found: Devcontainer, hidden: Sequence[Path], made: Path) -> BaseImage:
    notes = list(found.notes)
    if found.dockerfile is None:
        text, context = f"FROM {found.image}\n", None
    else:
        text = _dockerfile(found.dockerfile)
        context = found.context if _copies(text) else None
        text, unknown = _with_args(text, found.args)
        notes += [f"{found.file}: build.args.{name}: {found.dockerfile} has no such ARG"
                  for name in unknown]  # fmt: skip
        text = _until_stage(text, found.target) if found.target else text
        if not text:
            raise TaskError(
                f"{found.file}: build.target: {found.dockerfile} has no stage {found.target!r}"
            )
    lines = [
        "USER root",
        *(f"ENV {name}={_quoted(value)}" for name, value in found.env.items()),
        f"WORKDIR {found.workdir}",
        f"COPY {_PROJECT}/ {found.workdir}/",
        *(f"RUN {json.dumps(list(words))}" for words in found.commands),
    ]
    text = "\n".join([text.rstrip(), *lines, ""])
    folder = _staged({_PROJECT: found.project}, context, text, hidden, made)
    return BaseImage(_tag(folder), folder, found.workdir, tuple(notes), str(found.file))


def _tag(folder: Path) -> str:
    return f"skillopt/task:{folder_digest(folder)[:12]}"


def _dockerfile(file: Path) -> str:
    """The text of a Dockerfile; raises TaskError for a file that is none."""
    if file.stat().st_size > DOCKERFILE_BYTES:
        raise TaskError(f"{file}: is no Dockerfile: more than {DOCKERFILE_BYTES // 1_000_000} MB")
    text = read_text(file)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            if words[0].upper() in ("FROM", "ARG"):
                break
            raise TaskError(f"{file}:{number}: is no Dockerfile: it begins with {words[0]!r}")
    if not re.search(r"^\s*FROM\s+\S", text, re.MULTILINE | re.IGNORECASE):
        raise TaskError(f"{file}:1: has no FROM; name the image that it starts from")
    return text


def _copies(text: str) -> bool:
    """Whether a Dockerfile takes files from its context."""
    taking = re.findall(r"^\s*(?:COPY|ADD)\s.*|^.*--mount=.*", text, re.MULTILINE | re.IGNORECASE)
    return any("--from=" not in line for line in taking)


def _with_args(text: str, args: Mapping[str, str]) -> tuple[str, list[str]]:
    """A Dockerfile whose arguments have these values, and the names that it does not have."""
    unknown = []
    for name, value in args.items():
        line = re.compile(rf"^(\s*ARG\s+{re.escape(name)})(?:=.*)?$", re.MULTILINE | re.IGNORECASE)
        pieces = line.split(text)  # Every second piece is the beginning of such a line.
        if len(pieces) == 1:
            unknown.append(name)
        given = f"={_quoted(value)}"
        text = "".join(f"{piece}{given}" if n % 2 else piece for n, piece in enumerate(pieces))
    return text, unknown


def _until_stage(text: str, stage: str) -> str:
    """A Dockerfile up to the end of a stage, as some builders build all stages; empty if it has
    none of that name or number."""
    number, wanted, lines = -1, False, []
    for line in text.splitlines():
        words = line.split()
        if words and words[0].upper() == "FROM":
            if wanted:
                break
            number += 1
            named = words[-1].lower() if len(words) > 3 and words[-2].upper() == "AS" else ""
            wanted = stage.lower() == named or stage == str(number)
        lines.append(line)
    return "\n".join(lines) if wanted else ""


def _quoted(value: str) -> str:
    """A value in a Dockerfile, in which only ``${NAME}`` is a variable."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[$](?![{])", r"\\$", plain) + '"'


def _hidden(source: str, made: Path) -> list[Path]:
    """What scores the tasks: the source's files, and the folder of runs with all earlier ones."""
    named = [Path(source), *map(Path, glob.glob(source, recursive=True))]  # noqa: PTH207
    found = []
    for path in (path for path in named if path.exists()):
        # In a skill's folder, eval files are not all there is; a folder of tasks is hidden whole.
        found += (eval_files(str(path)) if path.is_dir() else []) or [path]
    hidden = [path.parent if path.parent.name == FOLDER else path for path in found]
    return [path.resolve() for path in (*hidden, made.parent)]


def _staged(
    parts: Mapping[str, Path], context: Path | None, text: str, hidden: Sequence[Path], made: Path
) -> Path:
    """The folder of a build, named by content.

    Args:
        parts: folders of projects, by their names in the context.
        context: folder whose files are copied as they are; None for none.
        text: of the Dockerfile.
        hidden: files and folders that are not copied.
        made: folder below which it is written.
    """
    from sandboxes.images import context_files  # The engine's client is heavy.

    made.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made, prefix=".environment-") as name:
        fresh = Path(name).resolve() / "context"
        fresh.mkdir()
        if context is not None:
            _copy(context, context_files(context), fresh, hidden)
        for part, folder in parts.items():
            (fresh / part).mkdir(exist_ok=True)
            _copy(folder, context_files(folder, _NOT_THE_PROJECTS), fresh / part, hidden)
        (fresh / ".dockerignore").unlink(missing_ok=True)  # It has been applied.
        (fresh / "Dockerfile").write_text(text, "utf-8")
        digest = folder_digest(fresh)
        folder = made.resolve() / f"environment-{digest[:16]}"
        if not folder.is_dir():  # It may be large: what is there is not read again.
            put(fresh, folder, digest)
    return folder


def _copy(source: Path, files: Iterable[Path], target: Path, hidden: Sequence[Path]) -> None:
    """Copy files of a folder, without hidden ones, skills, configs, and links that lead out."""
    root = source.resolve()
    skills: dict[Path, bool] = {}
    count = total = 0
    for path in files:
        here = path.parent.resolve() / path.name
        if not here.is_relative_to(root) or _is_hidden(here, root, hidden, skills):
            continue
        if _is_config(path):  # It tells how the agent is tested, and changes during a run.
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            if path.resolve().is_relative_to(root) and not path.readlink().is_absolute():
                place.symlink_to(path.readlink())
            continue
        count, total = count + 1, total + path.stat().st_size
        if count > MAX_FILES or total > MAX_BYTES:
            raise TaskError(
                f"tasks.environment: {source}: has more than {MAX_FILES:,} files or "
                f"{MAX_BYTES // 1_000_000} MB; leave out what agents do not need in "
                f"{source / '.dockerignore'}"
            )
        shutil.copy2(path, place)


def _is_config(file: Path) -> bool:
    """Whether a file is a config of this project."""
    if file.suffix not in (".yaml", ".yml") or file.is_symlink():
        return False
    with file.open("rb") as opened:
        keys = re.findall(rb"^(\w+):", opened.read(_CONFIG_BYTES), re.MULTILINE)
    return len(_CONFIG_KEYS.intersection(keys)) >= 3


def _is_hidden(path: Path, root: Path, hidden: Sequence[Path], skills: dict[Path, bool]) -> bool:
    # What the whole folder is in hides none of it.
    if any(path.is_relative_to(one) for one in hidden if root in one.parents):
        return True
    for folder in path.parents:
        if folder == root or not folder.is_relative_to(root):
            return False
        if folder not in skills:
            skills[folder] = (folder / "SKILL.md").is_file()
        if skills[folder]:
            return True
    return False
