"""What a ``task.toml`` in Harbor's format may ask for: honoured, noted as of no effect, or refused.

Nothing that would change a task's meaning is passed over in silence. Keys of later versions are
noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from skillopt.tasks.tables import Table, TaskError

STEPS = "multi-step tasks are not supported; make each step a task of its own"
_RESOURCES = ("cpus", "memory", "memory_mb", "storage", "storage_mb", "build_timeout_sec")
_KNOWN = {
    "": {
        "schema_version", "version", "task", "metadata", "agent", "verifier", "environment",
        "solution", "source", "artifacts", "steps", "multi_step_reward_strategy",
    },
    "agent": {"timeout_sec", "user", "network_mode", "allowed_hosts"},
    "verifier": {
        "timeout_sec", "user", "env", "environment", "environment_mode", "network_mode",
        "allowed_hosts",
    },
    "environment": {
        *_RESOURCES, "docker_image", "workdir", "env", "network_mode", "allowed_hosts",
        "allow_internet", "mcp_servers", "healthcheck", "gpus", "gpu_types", "tpu", "os",
        "skills_dir",
    },
    "solution": {"env"},
}  # fmt: skip
"""The keys of the format, by table; those of ``task`` and ``metadata`` are the author's."""
_NETWORKS = ("public", "no-network")
_IMAGE = re.compile(r"\w[\w./:@-]*")


def refuse_unsupported(folder: Path, table: Table) -> None:
    """Raise TaskError if a task asks for what no sandbox has."""
    version = table.values.get("schema_version", table.values.get("version", "1.0"))
    if not isinstance(version, str) or not re.match(r"1(\.|$)", version):
        raise table.error("schema_version", f'{version!r} is not supported; "1.0" to "1.x" are')
    if (folder / "steps").exists():
        raise TaskError(f"{folder / 'steps'}: not supported: {STEPS}")
    environment, verifier = table.table("environment"), table.table("verifier")
    mode = verifier.get("environment_mode", str, "shared")
    if mode not in ("shared", "separate"):
        raise verifier.error("environment_mode", f"{mode!r} is not known; shared and separate are")
    for where, key in (
        (table, "steps"),
        (environment, "mcp_servers"),
        (environment, "healthcheck"),
        (environment, "gpus"),
        (environment, "tpu"),
        (environment, "allowed_hosts"),
        (table.table("agent"), "allowed_hosts"),
    ):
        if value := where.values.get(key):
            advice = STEPS if key == "steps" else "remove it or leave this task out"
            raise where.error(key, f"not supported ({value!r}); {advice}")
    system = environment.get("os", str, "linux")
    if system.lower() != "linux":
        raise environment.error("os", f"{system!r} is not supported; linux is")
    own = verifier.table("environment")
    for key in own.values:
        if key not in ("docker_image", *_RESOURCES):
            raise own.error(key, "not supported; put it into tests/Dockerfile")
    for where in (environment, table.table("agent")):
        network = where.get("network_mode", str, "public")
        if network not in _NETWORKS:
            raise where.error("network_mode", f"{network!r} is not supported: agents run offline")


def notes_on(table: Table) -> Iterator[str]:
    """What a ``task.toml`` says that has no effect, each with its key."""
    for name, known in _KNOWN.items():
        section = table.table(name) if name else table
        for key in section.values:
            if key not in known:
                yield f"{section.place(key)}: not known; has no effect"
    environment, agent, verifier = map(table.table, ("environment", "agent", "verifier"))
    internet = environment.get("allow_internet", bool, False) and "allow_internet"
    for where, key in ((environment, internet or "network_mode"), (agent, "network_mode")):
        if where.values.get(key) in (True, "public"):
            yield f"{where.place(key)}: has no effect: sandbox.network opens hosts to agents"
    for key in ("network_mode", "allowed_hosts"):
        if value := verifier.values.get(key):
            yield (
                f"{verifier.place(key)}: {value!r} has no effect: sandbox.verifier_network opens "
                "hosts to tests"
            )
    if environment.values.get("skills_dir"):
        yield f"{environment.place('skills_dir')}: has no effect: these skills are left out"
    if resources := [key for key in verifier.table("environment").values if key in _RESOURCES]:
        place = verifier.table("environment").place(resources[0])
        yield f"{place}: has no effect: tests have the agent's limits or the environment's"


def root_user(table: Table, composed: str = "") -> str | None:
    """Whether ``user`` of agent or verifier is root.

    Args:
        table: of agent or verifier.
        composed: the user in the compose file, if it has one.

    Returns:
        What says that it is root; empty for any other user, who is mapped to the sandbox's ordinary
        one; None if nothing is said.

    Raises:
        TaskError: it is neither a name nor a number.
    """
    user = table.values.get("user")
    if user is None:
        user = composed or None
    if user is None:
        return None
    if isinstance(user, bool) or not isinstance(user, str | int) or not _is_user(str(user)):
        raise table.error("user", f"expected a user's name or number, got {user!r}")
    name = str(user).partition(":")[0]
    return f"user = {user!r}" if name == "root" or not name.strip("0") else ""


def image_name(table: Table) -> str:
    """The key ``docker_image`` of a table; empty if it has none. Raises TaskError if it is none."""
    name = table.get("docker_image", str, "")
    if name and not _IMAGE.fullmatch(name):
        raise table.error("docker_image", f"{name!r} is not the name of an image")
    return name


def artifacts_outside(table: Table, workdir: str) -> Iterator[str]:
    """The artifacts of a task that lie outside of its working directory."""
    for entry in table.get("artifacts", list, []):
        source: Any = entry.get("source") if isinstance(entry, dict) else entry
        if not isinstance(source, str) or not source:
            raise table.error("artifacts", f"expected paths, got {entry!r}")
        if source.startswith("/") and not PurePosixPath(source).is_relative_to(workdir):
            yield source


def _is_user(text: str) -> bool:
    return bool(re.fullmatch(r"[\w.][\w.-]*(:[\w.][\w.-]*)?", text))
