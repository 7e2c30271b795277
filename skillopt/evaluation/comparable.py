"""Whether the scores of two runs can be compared, and what they differ in besides their method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skillopt.config.kinds import METHODS
from skillopt.core.files import digest_of
from skillopt.evaluation.claim import scorer_in
from skillopt.run.folder import RunError
from skillopt.run.records import RunCreated

SAME = {
    "splits.test": "test tasks", "config.harness.name": "agents", "config.target.name": "models",
}  # fmt: skip
"""What runs must have in common for their scores to be compared, and what it is called; besides the
metric."""
JUDGING = {"own.verifier": "verifiers", "judge": "judges"}
"""The same, by the beginning of keys of the fingerprint."""
OF_SKILLOPT = ("train", "gate", "edits")
"""Sections that only SkillOpt's own loop obeys, and those that let the gate decide."""
SPLIT_HINT = " (runs with different seeds have, if tasks.split_seed is given)"
UNTRAINED = ("none", "human")
"""Kinds of methods that end with the same skill whatever the seed: one run shows all of them."""
SEED = "seed"
"""The run's, and the last part of the keys of others: of a simulated service, of sampling."""
SHOWN = 60
"""The most characters of a value."""


def method_of(created: RunCreated) -> str:
    """The kind of a run's method."""
    return str(created.config.get("method", {}).get("kind", "skillopt"))


def seed_of(created: RunCreated) -> int:
    """The run's seed."""
    return int(created.config["seed"])


def budget_of(created: RunCreated) -> int | None:
    """The run's ``method.rollouts``."""
    found: int | None = created.config.get("method", {}).get("rollouts")
    return found


def check_comparable(first: RunCreated, other: RunCreated, names: tuple[str, str]) -> None:
    """Check that two runs have the same test tasks, agent, model and metric.

    Args:
        first, other: what they are.
        names: what they are called.

    Raises:
        RunError: they differ in what scores depend on besides the skill.
    """
    old, new = _deciding(first), _deciding(other)
    for what in old:
        if old[what] != new[what]:
            same = seed_of(first) == seed_of(other)
            hint = "" if what != "test tasks" or same else SPLIT_HINT
            raise RunError(
                f"{names[1]} has other {what} than {names[0]}: their scores cannot be "
                f"compared; train both with the same{hint}"
            )


def _deciding(created: RunCreated) -> dict[str, Any]:
    """What scores depend on besides the skill, by what it is called."""
    known = created.fingerprint
    judging = {
        what: {key: known[key] for key in known if key == start or key.startswith(f"{start}.")}
        for start, what in JUDGING.items()
    }
    scorer = scorer_in(created.config)
    metric = (scorer.metric, scorer.mix if scorer.metric == "mixed" else None)
    return {what: _at(created, key) for key, what in SAME.items()} | {"metrics": metric} | judging


def setup_of(created: RunCreated) -> dict[str, Any]:
    """What decides a run's result, but for seeds: the same for the runs of one method."""
    known = created.fingerprint
    return {key: value for key, value in known.items() if key.rpartition(".")[2] != SEED}


def differences(methods: Mapping[str, RunCreated]) -> list[str]:
    """What methods differ in besides themselves and the seed, in words: budget, start, tasks,
    versions.

    Args:
        methods: by name, what one run of each is.
    """
    found = {name: _told(created) for name, created in methods.items()}
    lines = []
    for key in dict.fromkeys(key for told in found.values() for key in told):
        values: list[tuple[Any, list[str]]] = []
        for name, created in methods.items():
            value = found[name].get(key)
            if not _matters(key, method_of(created)):
                continue
            alike = next((names for known, names in values if known == value), None)
            if alike is None:
                values.append((value, [name]))
            else:
                alike.append(name)
        if len(values) > 1:
            said = (f"{_shown(value)} for {', '.join(names)}" for value, names in values)
            lines.append(f"{key} differs: {'; '.join(said)}")
    return lines


def _told(created: RunCreated) -> dict[str, Any]:
    """What is told of a run, by key of its fingerprint; the tasks of a split are one."""
    setup = setup_of(created)
    tasks: dict[str, Any] = {}
    for key, digest in setup.items():
        if key.startswith("tasks."):
            tasks.setdefault(".".join(key.split(".")[:2]), []).append((key, digest))
    plain = {key: value for key, value in setup.items() if not key.startswith("tasks.")}
    return plain | {key: digest_of(sorted(found)) for key, found in tasks.items()}


def _matters(key: str, method: str) -> bool:
    """Whether a method of this kind depends on a key that is no setting of its own."""
    section = key.partition(".")[0]
    if section == "method":
        return key == "method.rollouts" and method not in (*UNTRAINED, "one_shot")
    return section not in OF_SKILLOPT or method not in METHODS or method == "skillopt"


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text[:SHOWN]


def _at(created: RunCreated, key: str) -> Any:
    """A value of a run's first record by its dotted key."""
    found: Any = created.model_dump(mode="json")
    for name in key.split("."):
        found = found.get(name, {})
    return found
