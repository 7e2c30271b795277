"""Reads a task's ``docker-compose.yaml`` that describes its own container alone.

Harbor merges such a file with its own, in which the agent works in the service ``main``. More
services would need an engine's Compose, and are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skillopt.core.errors import SkillOptError

MAIN = "main"
_IDLE = re.compile(
    r"(/[\w/]*)?(ba|da)?sh|-l?c|-f|exec|while|do|done|:|true|cat|sleep|tail|inf(inity)?|/dev/null"
    r"|[\d.]+[smhd]?|"
)
"""A word of a command that does nothing but keep its container running."""
_VARIABLE = re.compile(
    r"(?P<dollar>\$\$)|\$\{(?P<name>\w+)(?::?-(?P<default>[^{}]*))?\}|\$(?P<other>\{|\w+)"
)
_CONTEXTS = (".", "./", "${CONTEXT_DIR}")
_OWN_IMAGES = ("${MAIN_IMAGE_NAME}", "")
_HARBORS = {
    "TEST_DIR": "/tests",
    "ENV_VERIFIER_LOGS_PATH": "/logs/verifier",
    "ENV_AGENT_LOGS_PATH": "/logs/agent",
}
"""Variables that Harbor sets for a compose file, and not the machine: paths in the container."""
_HONOURED = {"build", "image", "environment", "working_dir", "user"}
_SET_BY_US = {
    "command", "container_name", "cpus", "deploy", "entrypoint", "expose", "hostname", "init",
    "labels", "logging", "mem_limit", "networks", "platform", "ports", "pull_policy", "restart",
    "shm_size", "stdin_open", "stop_grace_period", "tty", "volumes",
}  # fmt: skip
"""What a sandbox has its own of, or does not need: passed over, and said unless it is usual."""

_NOTED = ("ports", "volumes", "networks", "mem_limit", "cpus", "shm_size", "deploy", "platform")
"""Of these, what a task may count on: it is noted that they have no effect."""


class ComposeError(SkillOptError):
    """A compose file asks for what is not supported. The message names the file and the key."""


@dataclass(frozen=True)
class Compose:
    """The service ``main`` of a compose file.

    Args:
        image: that it runs, if it is not built from the Dockerfile beside the file.
        workdir: its working directory; empty for the image's.
        user: that it runs as; empty for the image's.
        env: its variables.
        notes: what the file says and has no effect here.
    """

    image: str = ""
    workdir: str = ""
    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def read_compose(file: Path) -> Compose:
    """Read a compose file.

    Raises:
        ComposeError: it is none, has services besides ``main``, or gives ``main`` rights that no
            sandbox has.
    """
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ComposeError(f"{file}: cannot be read as YAML: {error}") from error
    if isinstance(content, dict) and content.get("include"):
        raise ComposeError(f"{file}: include: not supported; write its services into this file")
    services = content.get("services") if isinstance(content, dict) else None
    if not isinstance(services, dict) or not services:
        raise ComposeError(f"{file}: services: missing; describe the service {MAIN!r}")
    others = [str(name) for name in services if name != MAIN]
    if others:
        raise ComposeError(
            f"{file}: services: {', '.join(others)}: not supported: a task has one container, "
            f"{MAIN!r}; start what it needs in environment/Dockerfile, or leave this task out"
        )
    return _main(file, services[MAIN] or {})


def expand(text: str, dollar: str = "$$", known: Mapping[str, str] | None = None) -> str | None:
    """A text with the defaults of its variables, ``${NAME:-default}``; None if one has none, and
    would have to come from this machine's environment, of which nothing enters a sandbox.

    Args:
        text: to be expanded.
        dollar: what ``$$`` stands for.
        known: variables that have a value all the same.
    """
    values = [
        dollar if m["dollar"] else (known or {}).get(m["name"] or m["other"], m["default"])
        for m in _VARIABLE.finditer(text)
    ]
    if None in values:
        return None
    given = iter(values)
    return _VARIABLE.sub(lambda _: next(given) or "", text)


def is_variable(name: str, value: str) -> bool:
    """Whether a variable can have this name and this value."""
    return bool(re.fullmatch(r"[^=\0\s]+", name)) and "\0" not in value


def _main(file: Path, service: Any) -> Compose:
    where = f"{file}: services.{MAIN}"
    if not isinstance(service, dict):
        raise ComposeError(f"{where}: expected a mapping, got {service!r}")
    for key, value in service.items():
        # Extensions hold what other places of the file refer to.
        if key not in _HONOURED | _SET_BY_US and not str(key).startswith("x-"):
            what = f"not supported ({value!r}); remove it or leave this task out"
            raise ComposeError(f"{where}.{key}: {what}")
    notes = [f"{where}.{key}: has no effect here" for key in _NOTED if service.get(key)]
    for key in ("command", "entrypoint"):
        value = service.get(key) or ""
        words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if not all(_IDLE.fullmatch(word) for word in re.split(r"[\s;'\"]+", words)):
            notes.append(f"{where}.{key}: is not run: {value!r}")
    return Compose(
        image=_image(where, service),
        workdir=_text(where, service, "working_dir"),
        user=_text(where, service, "user"),
        env=_environment(where, service.get("environment")),
        notes=tuple(notes),
    )


def _image(where: str, service: Mapping[str, Any]) -> str:
    build = service.get("build")
    if isinstance(build, dict):
        dockerfile, context = build.get("dockerfile", "Dockerfile"), build.get("context", ".")
        others = [str(key) for key in build if key not in ("context", "dockerfile")]
        if others or dockerfile not in ("Dockerfile", "./Dockerfile"):
            key = others[0] if others else "dockerfile"
            raise ComposeError(
                f"{where}.build.{key}: not supported ({build[key]!r}); put it into "
                "environment/Dockerfile"
            )
        build = context
    if build is not None:
        if str(build) not in _CONTEXTS:
            raise ComposeError(f"{where}.build: {build!r} is not supported: only the file's folder")
        return ""
    written = str(service.get("image", "")).strip()
    return "" if written in _OWN_IMAGES else _text(where, service, "image")


def _text(where: str, service: Mapping[str, Any], key: str) -> str:
    value = service.get(key)
    if isinstance(value, dict | list | bool):
        raise ComposeError(f"{where}.{key}: expected a text, got {value!r}")
    found = expand("" if value is None else str(value), "$")
    if found is None:
        raise ComposeError(f"{where}.{key}: {value!r} has a variable without a default")
    return found


def _environment(where: str, found: Any) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, Any] = {}
    if isinstance(found, dict):
        pairs = found
    elif isinstance(found, list):
        for entry in map(str, found):
            name, _, value = entry.partition("=")
            pairs[name] = value if "=" in entry else None
    elif found is not None:
        raise ComposeError(f"{where}.environment: expected a mapping or a list, got {found!r}")
    values: dict[str, str] = {}
    for name, value in pairs.items():
        # Without a value it would be taken from this machine's environment.
        if isinstance(value, dict | list) or not is_variable(str(name), str(value)):
            raise ComposeError(f"{where}.environment.{name}: no variable can have it: {value!r}")
        text = None if value is None else expand(_scalar(value), "$", _HARBORS)
        if text is None:
            raise ComposeError(
                f"{where}.environment.{name}: taking values from the host's environment is not "
                "supported; write the value, or a default as in ${NAME:-default}"
            )
        values[str(name)] = text
    return tuple(sorted(values.items()))


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
