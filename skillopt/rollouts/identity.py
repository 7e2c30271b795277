"""What a run is: everything that decides its result. A later start of it must have the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harnesses.agents.options import Options
from harnesses.harness import Harness
from sandboxes.registry import BACKENDS, load_backend
from skillopt.config.schema import Config
from skillopt.core.errors import SkillOptError
from skillopt.core.skill import Skill
from skillopt.core.types import Split, Task
from skillopt.rollouts.plugins import Plugins, described, label

MAY_CHANGE = (
    "name", "runs", "workers", "rollout_tries", "max_infra_share", "limits", "prices", "trackers",
    "transfer",
)  # fmt: skip
"""Keys of the config that may change from one start to the next: they do not change the result."""
KEYS_ADDED_LATER: dict[str, dict[str, Any]] = {
    "harness": {
        "mount": "native",
        "mode": "batch",
        "options": Options().model_dump(mode="json"),
    },
    "skill": {"beside": []},
    "sandbox": {"options": {}, "network": "none", "verifier_network": "none"},
}
"""Keys that came after the first runs, with the value that changes nothing: left out with it."""
FREE_UPSTREAM = ("key_env", "max_concurrency", "latency_s", "error_rate", "cut_rate")
SHOWN = 12


class FingerprintError(SkillOptError):
    """A run was started again as something else; the message lists what differs."""


def fingerprint(
    config: Config,
    splits: Mapping[Split, Sequence[Task]],
    initial: Skill | None,
    harness: Harness,
    plugins: Plugins,
    beside: Sequence[Skill] = (),
) -> dict[str, Any]:
    """A run's fingerprint, flat.

    Args:
        config, splits: of the run.
        initial: the skill it starts from; None where the optimizer drafts it.
        harness: as made, with the version of its program.
        plugins: the user's own parts.
        beside: the skills that the agent has besides.
    """
    settings = config.model_dump(mode="json", exclude=set(MAY_CHANGE))
    for upstream in settings["upstreams"].values():
        for key in FREE_UPSTREAM:
            upstream.pop(key, None)
    for section in KEYS_ADDED_LATER:
        settings[section] = without_later(section, settings[section])
    tasks = {split: {task.name: task.digest for task in splits[split]} for split in splits}
    return _flat(
        {
            "config": settings,
            "tasks": tasks,
            "skill": initial.digest if initial else "draft",
            "harness": {"name": harness.name, "version": harness.version()},
            "own": described(plugins) | own_backend(config),
            "beside": {other.name: other.digest for other in beside},
            "skillopt": package_version(),
        }
    )


def own_backend(config: Config) -> dict[str, str]:
    """Name and version of a user's own backend; empty for one of the project's."""
    kind = config.sandbox.kind
    return {} if kind in BACKENDS else {"backend": label(load_backend(kind))}


def without_later(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A section of a config without the keys of :data:`KEYS_ADDED_LATER` that change nothing."""
    later = KEYS_ADDED_LATER[section]
    return {k: v for k, v in settings.items() if k not in later or v != later[k]}


def package_version() -> str:
    """Of this project; ``unknown`` where it is not installed."""
    try:
        return version("skillopt-harness")
    except PackageNotFoundError:
        return "unknown"


def refuse_another(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Raise FingerprintError with the list of differences, if there are any."""
    keys = sorted(before.keys() | now.keys())
    lines = [
        f"  {key}: {_shown(before.get(key))} -> {_shown(now.get(key))}"
        for key in keys
        if before.get(key) != now.get(key)
    ]
    if not lines:
        return
    more = [f"  … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise FingerprintError(
        "\n".join(
            [
                f"{where}: this run was begun as something else:",
                *lines[:SHOWN],
                *more,
                "undo the changes to go on with it, or start a new run, which takes from the "
                "store what it can: --fork NEW-NAME",
            ]
        )
    )


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys."""
    if not isinstance(settings, dict):
        return {prefix.rstrip("."): settings}
    return {
        k: v for key, inner in settings.items() for k, v in _flat(inner, f"{prefix}{key}.").items()
    }
