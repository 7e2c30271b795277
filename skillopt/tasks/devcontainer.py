"""Reads ``devcontainer.json`` (https://containers.dev/implementors/json_reference): what its
container is made from. Builds and runs nothing, and takes nothing from this machine's environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillopt.tasks.compose import is_variable
from skillopt.tasks.tables import TaskError, read_text

FOLDER = ".devcontainer"
NAMES = (f"{FOLDER}/devcontainer.json", ".devcontainer.json", "devcontainer.json")
"""Where a project has it, the usual place first."""
MAX_BYTES = 1_000_000
_COMMANDS = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
"""What is run once when a container is made, in this order."""
_BUILD_ONCE = (
    "build the image once with 'devcontainer build --workspace-folder . --image-name NAME' (npm "
    "@devcontainers/cli), and set tasks.environment to NAME"
)
_REFUSED = {
    "dockerComposeFile": "several containers are not supported, a task has one: write the "
    "container that the agent works in into another devcontainer.json with image or build, and "
    "name that in tasks.environment",
    "features": f"are not installed here; {_BUILD_ONCE}",
}
_NO_EFFECT = {
    "initializeCommand": "is not run: it is for this machine",
    "postStartCommand": "is not run: it is for each start of a container",
    "postAttachCommand": "is not run: it is for an editor",
    **dict.fromkeys(
        ("mounts", "runArgs", "privileged", "capAdd", "securityOpt", "workspaceMount"),
        "has no effect: a sandbox has its own mounts and rights",
    ),
    **dict.fromkeys(
        ("remoteUser", "containerUser"), "has no effect: agents have the sandbox's user"
    ),
    **dict.fromkeys(("forwardPorts", "appPort"), "has no effect: a sandbox has no ports outside"),
    "hostRequirements": "has no effect: sandbox.limits has the limits",
    "secrets": "has no effect: no secret of this machine enters a sandbox",
}
"""What a task may count on, and is noted."""
_SILENT = {
    "$schema", "name", "customizations", "extensions", "settings", "devPort", "init",
    "overrideCommand", "overrideFeatureInstallOrder", "portsAttributes", "otherPortsAttributes",
    "shutdownAction", "updateRemoteUserUID", "userEnvProbe", "waitFor",
}  # fmt: skip
"""What is about editors, or makes no difference to a sandbox."""
_READ = {
    "image", "build", "dockerFile", "context", "workspaceFolder", "containerEnv", "remoteEnv",
    *_COMMANDS,
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{(?P<kind>\w+)(?::(?P<name>[^:{}]+)(?::(?P<default>[^{}]*))?)?\}")
_IMAGE = re.compile(r"\w[\w./:@-]*")
_PLACE = re.compile(r"(/[\w.@+-]+)+/?")


@dataclass(frozen=True)
class Devcontainer:
    """What a ``devcontainer.json`` says of its container.

    Args:
        file: that was read.
        project: folder that the container has as its working directory.
        image: it starts from; empty if it is built.
        dockerfile, context: it is built from; None if it starts from an image.
        args: of the build.
        target: stage of the Dockerfile; empty for the last.
        workdir: path of the project in the container.
        env: variables; ``${NAME}`` in a value is one of the container's own.
        commands: that are run once in ``workdir``, in their order, as words.
        notes: what the file says and has no effect here.
    """

    file: Path
    project: Path
    image: str
    dockerfile: Path | None
    context: Path | None
    args: Mapping[str, str]
    target: str
    workdir: str
    env: Mapping[str, str]
    commands: Sequence[Sequence[str]]
    notes: tuple[str, ...]


def read_devcontainer(file: Path) -> Devcontainer:
    """Read a ``devcontainer.json``, with comments and trailing commas.

    Raises:
        TaskError: it is no such file, or asks for what no sandbox has: features, several
            containers. The message names file, line and key, and says what to do.
    """
    return _Reader(file).read()


def find_devcontainer(folder: Path) -> Path | None:
    """The ``devcontainer.json`` of a project, None if it has none or several to choose from."""
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    several = sorted(folder.glob(f"{FOLDER}/*/devcontainer.json"))
    return several[0] if len(several) == 1 else None


class _Reader:
    """One file, whose lines messages name."""

    def __init__(self, file: Path) -> None:
        self._file = file.absolute()
        self._text = ""
        self._notes: list[str] = []
        self._project = _project_of(self._file)
        self._workdir = ""

    def read(self) -> Devcontainer:
        values = self._load()
        for key, advice in _REFUSED.items():
            if named := values.get(key):
                shown = f" {', '.join(named)}" if isinstance(named, dict) else ""
                raise self._error(key, f"{shown.strip()} {advice}".strip())
        for key in values:
            self._note_key(key)
        self._workdir = self._workspace_folder(values)
        image, build = self._base(values)
        dockerfile, context = self._files(build) if build else (None, None)
        args = self._texts(build.get("args", {}), "build.args")
        for name in [name for name, value in args.items() if "${" in value]:
            self._note(f"build.args.{name}", "is left out: it takes its value from the container")
            del args[name]
        return Devcontainer(
            file=self._file,
            project=self._project,
            image=image,
            dockerfile=dockerfile,
            context=context,
            args=args,
            target=self._text_at(build, "target", "build.target"),
            workdir=self._workdir,
            env=self._texts(values.get("containerEnv", {}), "containerEnv")
            | self._texts(values.get("remoteEnv", {}), "remoteEnv"),
            commands=[words for key in _COMMANDS for words in self._commands(values, key)],
            notes=tuple(self._notes),
        )

    def _load(self) -> dict[str, Any]:
        import json5  # Its grammar takes a while, and few runs have such a file.

        try:
            if self._file.stat().st_size > MAX_BYTES:
                raise TaskError(f"{self._file}: has more than {MAX_BYTES // 1_000_000} MB")
        except OSError as error:
            raise TaskError(f"{self._file}: cannot be read: {error}") from error
        self._text = read_text(self._file).removeprefix("\ufeff")
        try:
            values = json5.loads(self._text, allow_duplicate_keys=False)
            json.dumps(values, ensure_ascii=False).encode()  # Half of a character is no text.
        except (ValueError, RecursionError) as error:
            said = " ".join(str(error).removeprefix("<string>:").split()) or "nested too deeply"
            at = "" if said[0].isdigit() else "1: "
            raise TaskError(f"{self._file}:{at}{said} (JSON with comments)") from error
        if not isinstance(values, dict):
            raise TaskError(f"{self._file}:1: must be a mapping, not {type(values).__name__}")
        return values

    def _note_key(self, key: str) -> None:
        if key in _NO_EFFECT:
            self._note(key, _NO_EFFECT[key])
        elif key not in _SILENT | _READ | _REFUSED.keys():
            self._note(key, "is not known, and has no effect")

    def _workspace_folder(self, values: Mapping[str, Any]) -> str:
        key = "workspaceFolder"
        name = re.sub(r"[^\w.@+-]+", "-", self._project.name).strip("-.") or "project"
        self._workdir = f"/workspaces/{name}"
        place = self._text_at(values, key, key) or self._workdir
        if not _PLACE.fullmatch(place) or {".", ".."} & set(place.split("/")):
            raise self._error(key, f"{place!r} is not an absolute path below /")
        return place.rstrip("/")

    def _base(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The image and the section ``build``, one of which is empty."""
        build = values.get("build", {})
        if not isinstance(build, dict):
            raise self._error("build", f"must be a mapping, got {build!r}")
        # Its earlier names, which the specification still has.
        old = {"dockerfile": values.get("dockerFile"), "context": values.get("context")}
        build = {**{key: value for key, value in old.items() if value is not None}, **build}
        if "dockerfile" in build:
            for key in build.keys() - {"dockerfile", "context", "args", "target", "cacheFrom"}:
                self._note(f"build.{key}", "has no effect")
            return "", build
        image = self._text_at(values, "image", "image")
        if not image:
            raise self._error("image", "is missing; add it, or build.dockerfile")
        if not _IMAGE.fullmatch(image):
            raise self._error("image", f"{image!r} is not the name of an image")
        return image, {}

    def _files(self, build: Mapping[str, Any]) -> tuple[Path, Path]:
        """The Dockerfile and the folder that it is built in, which stay inside of the project."""
        found = []
        for key, default in (("dockerfile", ""), ("context", ".")):
            path = self._text_at(build, key, f"build.{key}") or default
            place = (self._file.parent / path).resolve()
            if not place.is_relative_to(self._project.resolve()):
                raise self._error(f"build.{key}", f"{path!r} leads out of {self._project}")
            if not (place.is_file() if key == "dockerfile" else place.is_dir()):
                raise self._error(f"build.{key}", f"{place}: there is none; correct the path")
            found.append(place)
        return found[0], found[1]

    def _text_at(self, values: Mapping[str, Any], key: str, name: str) -> str:
        value = values.get(key, "")
        if not isinstance(value, str):
            raise self._error(name, f"must be a text, got {value!r}")
        text = self._expanded(value)
        if text is None or "${" in text:
            raise self._error(name, f"{value!r} has a variable without a value here; write it out")
        return text

    def _texts(self, values: Any, name: str) -> dict[str, str]:
        """Variables or arguments with their values; those without one are noted and left out."""
        if not isinstance(values, dict):
            raise self._error(name, f"must be a mapping, got {values!r}")
        found = {}
        for key, value in values.items():
            text = self._expanded(_scalar(value)) if _scalar(value) is not None else None
            if text is None:
                self._note(f"{name}.{key}", "is left out: it takes its value from this machine")
            elif not is_variable(key, text) or "\n" in key + text:
                raise self._error(f"{name}.{key}", f"no variable can have it: {value!r}")
            else:
                found[key] = text
        return found

    def _commands(self, values: Mapping[str, Any], key: str) -> Iterator[Sequence[str]]:
        """A command as a text for the shell, as words, or several of these by name."""
        value = values.get(key) or []
        for command in value.values() if isinstance(value, dict) else [value]:
            if isinstance(command, str):
                text = _VARIABLE.sub(self._in_command, command)
                yield ("/bin/sh", "-c", text)
            elif isinstance(command, list) and all(isinstance(word, str) for word in command):
                if command:
                    yield tuple(_VARIABLE.sub(self._in_command, word) for word in command)
            else:
                raise self._error(key, f"must be a text or a list of words, got {command!r}")

    def _in_command(self, found: re.Match[str]) -> str:
        if found["kind"] == "localWorkspaceFolder":
            return self._workdir
        value = self._value(found)
        return found[0] if value is None and not found["name"] else value or ""

    def _expanded(self, text: str | None) -> str | None:
        """A text with its variables' values; None if one has its value from this machine."""
        if text is None:
            return None
        values = [self._value(found) for found in _VARIABLE.finditer(text)]
        if None in values:
            return None
        given = iter(values)
        return _VARIABLE.sub(lambda _: next(given) or "", text)

    def _value(self, found: re.Match[str]) -> str | None:
        """The value of a variable; ``${NAME}`` for one of the container's own."""
        match found["kind"]:
            case "localEnv" | "env":
                return found["default"]
            case "containerEnv":
                default = found["default"]
                name = found["name"] or ""
                return f"${{{name}}}" if default is None else f"${{{name}:-{default}}}"
            case "localWorkspaceFolderBasename":
                return self._project.name
            case "containerWorkspaceFolder":
                return self._workdir
            case "containerWorkspaceFolderBasename":
                return self._workdir.rpartition("/")[2]
            case _:
                return None

    def _note(self, key: str, message: str) -> None:
        self._notes.append(f"{self._place(key)}: {message}")

    def _error(self, key: str, message: str) -> TaskError:
        return TaskError(f"{self._place(key)}: {message}")

    def _place(self, key: str) -> str:
        """File, line and key, as messages name them."""
        at = 0
        for part in key.split("."):
            quoted = re.escape(json.dumps(part, ensure_ascii=False))
            found = re.compile(rf"{quoted}\s*:").search(self._text, at)
            at = found.start() if found else at
        return f"{self._file}:{self._text.count(chr(10), 0, at) + 1}: {key}"


def _project_of(file: Path) -> Path:
    """The folder of the project that a file describes."""
    for folder in file.parents[:2]:
        if folder.name == FOLDER:
            return folder.parent
    return file.parent


def _scalar(value: Any) -> str | None:
    """A value as text; None for what is none, as null is in ``remoteEnv``."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None
