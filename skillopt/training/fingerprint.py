"""What a run's result depends on, and since when: what may still change when it resumes.

Only what the finished part of a run depended on must be the same. What it did not depend on may
change, and the log records from where on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harnesses.harness import Harness
from skillopt.config.inputs import read_skill_or_run
from skillopt.config.kinds import METHOD_PACKAGES
from skillopt.config.methods import HumanConfig
from skillopt.config.schema import Config, FinalConfig
from skillopt.core.errors import SkillOptError
from skillopt.core.skill import Skill
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.identity import without_later
from skillopt.rollouts.prepare import Prepared
from skillopt.rollouts.questions import asked_by
from skillopt.rollouts.slots import sandbox_identity
from skillopt.rollouts.upstreams import service_of
from skillopt.run.state import State
from skillopt.tasks.harbor import only_triggers
from skillopt.training.plan import token_limit

SHOWN = 12
PLACED = ("sandbox", "upstreams.")
"""Own parts that the fingerprint has among the settings of their section."""
REJUDGE_HINT = (
    "if tests, the verifier or the judge were corrected: 'skillopt rejudge {run}' judges the kept "
    "work of its rollouts again, and a run started with --fork takes them over"
)
"""What to do in place of running every agent again."""


class FingerprintError(SkillOptError):
    """A run was started with different inputs than its finished part. The message lists them."""


class Since(IntEnum):
    """The part of a run from which on a key counts."""

    BASELINE = 1
    STEPS = 2
    EPOCH_ENDS = 3
    TEST = 4
    NEVER = 5


COUNTS_SINCE: dict[str, Since] = {
    "skill": Since.BASELINE,
    "beside": Since.BASELINE,
    "tasks.val": Since.BASELINE,
    "harness": Since.BASELINE,
    "sandbox": Since.BASELINE,
    "target": Since.BASELINE,
    "judge": Since.BASELINE,
    "triggers": Since.BASELINE,
    "own.verifier": Since.BASELINE,
    "own.harness": Since.NEVER,  # Its version() counts, under "harness".
    "gate.metric": Since.BASELINE,
    "gate.mix": Since.BASELINE,
    "skillopt": Since.BASELINE,
    "seed": Since.STEPS,
    "tasks.train": Since.STEPS,
    "train": Since.STEPS,
    "optimizer": Since.STEPS,
    "edits": Since.STEPS,
    "method": Since.STEPS,
    "gate": Since.STEPS,
    "own": Since.STEPS,
    "train.slow_update": Since.EPOCH_ENDS,
    "train.slow_tasks": Since.EPOCH_ENDS,
    "train.meta_skill": Since.EPOCH_ENDS,
    "own.stages.slow": Since.EPOCH_ENDS,
    "own.stages.meta": Since.EPOCH_ENDS,
    "tasks.test": Since.TEST,
    "final": Since.TEST,
}
"""Since when keys count, by the beginning of a key of the fingerprint; the longest match counts.
What is not in the fingerprint may change at any time."""
NOTES = ("train.meta_skill", "own.stages.meta")
"""Keys that decide the optimizer's notes."""
BUDGETS = ("trajectory_tokens", "context_tokens")
"""Keys of the optimizer that decide how much it is shown."""
DRAFTED = ("seed", "optimizer", "tasks.train")
"""Further keys that a draft of the initial skill depends on."""


def fingerprint(
    prepared: Prepared, initial: Skill | None, harness: Harness, prompts: Prompts
) -> dict[str, Any]:
    """What decides a run's result, flat, with dotted keys.

    Args:
        prepared: config, tasks and the user's own parts.
        initial: the skill that it starts from; None if the optimizer drafts it.
        harness: the harness, with the version of its program.
        prompts: the optimizer's prompt templates.
    """
    config, tasks, parts = prepared.config, prepared.splits, prepared.parts
    settings = config.model_dump(mode="json")
    agent = without_later("harness", settings["harness"]) | {
        "name": harness.name,
        "version": harness.version(),
    }
    train = {k: v for k, v in settings["train"].items() if k not in ("stages", "ahead")}
    if config.train.only == "all":  # This key came later too.
        del train["only"]
    if config.train.candidates == 1:  # These keys came later, and change nothing then.
        train = {k: v for k, v in train.items() if not k.startswith("candidates")}
    any_triggers = any(only_triggers(task) for split in tasks.values() for task in split)
    drafted = {"name": config.skill.name, "description": config.skill.description}
    return _flat(
        {
            "skill": {"digest": initial.digest} if initial else {"draft": drafted},
            "beside": {other.name: other.digest for other in prepared.beside},
            "tasks": {split: {task.name: task.digest for task in tasks[split]} for split in tasks},
            "harness": agent,
            "sandbox": sandbox_identity(config, parts),
            "target": _model(config, "target", parts),
            "optimizer": _model(config, "optimizer", parts)
            | {"sees_answers": config.optimizer.sees_answers, "prompts": prompts.digest}
            | asked_by(config)
            # Keys that came later are there only if they are set.
            | {k: v for k, v in settings["optimizer"].items() if k in BUDGETS and v is not None},
            "edits": {
                "max_tokens": token_limit(config.skill, initial),
                "edit_files": config.skill.edit_files,
            },
            **({"judge": prepared.judge.to_json()} if prepared.judge else {}),
            **({"triggers": settings["triggers"]} if any_triggers else {}),
            "seed": config.seed,
            "train": train,
            "method": _method(config),
            "gate": settings["gate"],
            "final": _final(settings["final"]),
            "own": {k: v for k, v in parts.items() if not k.startswith(PLACED)},
            "skillopt": package_version(),
        }
    )


def changes(
    before: Mapping[str, Any], now: Mapping[str, Any], state: State, where: str
) -> dict[str, list[Any]]:
    """The differences to a run's earlier fingerprint, if all of them may still change.

    Args:
        before, now: fingerprints.
        state: the run's current state.
        where: the run's folder, for the message.

    Raises:
        FingerprintError: its finished part depended on something that differs.
    """
    differing = {
        key: [before.get(key), now.get(key)]
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    }
    used = {key: pair for key, pair in differing.items() if _used(key, state)}
    if not used:
        return differing
    lines = [f"  {key}: {_shown(old)} -> {_shown(new)}" for key, (old, new) in used.items()]
    more = [f"  … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise FingerprintError(
        "\n".join(
            [
                f"{where}: this run was started with different inputs:",
                *lines[:SHOWN],
                *more,
                "undo these changes to resume it, or start a new run, which takes rollouts and "
                "replies from this one as far as they are the same: --fork NEW-NAME",
                *([REJUDGE_HINT.format(run=where)] if _judges(used) else []),
            ]
        )
    )


def since(key: str, drafted: bool = False) -> Since:
    """The part of a run from which on a key of the fingerprint counts.

    Args:
        key: the dotted key.
        drafted: whether the initial skill is the optimizer's draft.
    """
    parts = key.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    found = next(COUNTS_SINCE[name] for name in names if name in COUNTS_SINCE)
    early = drafted and any(name in DRAFTED for name in names)
    return Since.BASELINE if early else found


def _used(key: str, state: State) -> bool:
    """Whether the finished part of a run depended on a key."""
    drafted = state.created is not None and any(
        name.startswith("skill.draft") for name in state.created.fingerprint
    )
    match since(key, drafted):
        case Since.BASELINE:
            return state.initial_score is not None
        case Since.STEPS if key.startswith("optimizer."):
            return any(reply.reply is not None for reply in state.replies.values())
        case Since.STEPS:
            begun = state.stage is not None and state.stage.step > 0
            return state.steps > 0 or begun or state.chosen is not None
        case Since.EPOCH_ENDS:
            noted = bool(state.notes) and key in NOTES  # They are written from epoch 1 on.
            return noted or state.epochs > 1 or state.paired
        case Since.TEST:
            return state.done is not None
    return False


def _judges(keys: Iterable[str]) -> bool:
    """Whether any of the keys may decide a verdict alone."""
    return any(key == "own.verifier" or key.startswith(("tasks.", "judge.")) for key in keys)


def package_version(name: str = "skillopt-harness") -> str:
    """The version of a package, by default of this project; ``unknown`` if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _method(config: Config) -> dict[str, Any]:
    """The settings of the method, with the package that runs it and the skill that it is given."""
    section = config.method
    found = section.model_dump(mode="json")
    if section.rollouts is None:  # This key came later.
        del found["rollouts"]
    if (package := METHOD_PACKAGES.get(section.kind)) is not None:
        found["package"] = f"{package} {package_version(package)}"
    if isinstance(section, HumanConfig):
        given = read_skill_or_run(section.skill)
        found["skill"] = given.digest if given else None
    return found


def _final(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The section without keys that came later and have their default."""
    usual = FinalConfig().model_dump(mode="json")
    return {k: v for k, v in settings.items() if k == "test" or v != usual[k]}


def _model(config: Config, role: str, parts: Mapping[str, str]) -> dict[str, Any]:
    model = getattr(config, role)
    return {
        "name": model.name,
        "sampling": model.sampling,
        "service": service_of(config, model, parts),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; an empty mapping has no key."""
    if not isinstance(settings, dict):
        return {prefix.rstrip("."): settings}
    return {
        k: v for key, inner in settings.items() for k, v in _flat(inner, f"{prefix}{key}.").items()
    }
