"""The optimizer's stages by name. A user may replace each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skillopt.core.import_path import PluginError, is_ours, own_code, takes
from skillopt.core.skill import Skill
from skillopt.core.types import Edit, Patch
from skillopt.optimizer.merge import merge
from skillopt.optimizer.meta_skill import meta_skill
from skillopt.optimizer.model import StageResult
from skillopt.optimizer.rank import rank
from skillopt.optimizer.reflect import reflect
from skillopt.optimizer.repair import Applied, apply_or_repair
from skillopt.optimizer.slow_update import slow_update

GIVEN: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "reflect": (["rollouts", "briefing"], ["minibatch", "batch"]),
    "merge": (["patches", "briefing"], ["batch"]),
    "rank": (["edits", "briefing"], []),
    "apply": (["edits", "briefing"], []),
    "slow": (["pairs", "briefing"], []),
    "meta": (["pairs", "decisions", "briefing"], []),
}
"""The arguments of each stage's function, by position and by name."""


@dataclass(frozen=True)
class Stages:
    """The functions of a run's stages; replacements have the same signatures."""

    reflect: Callable[..., StageResult[tuple[Patch, ...]]] = reflect
    merge: Callable[..., StageResult[Patch]] = merge
    rank: Callable[..., StageResult[tuple[Edit, ...]]] = rank
    apply: Callable[..., StageResult[Applied]] = apply_or_repair
    slow: Callable[..., StageResult[Skill]] = slow_update
    meta: Callable[..., StageResult[str]] = meta_skill


def make_stages(own: Mapping[str, Any]) -> Stages:
    """The project's stages, replaced by the user's own where those are given.

    Raises:
        PluginError: there is no replaceable stage of that name, or a function does not
            take what it will be given.
    """
    unknown = sorted(set(own) - set(GIVEN))
    if unknown:
        raise PluginError(f"train.stages: {unknown[0]!r} is not one of {', '.join(GIVEN)}")
    for name, function in own.items():
        positional, named = GIVEN[name]
        takes(function, f"train.stages.{name}", *positional, named=named)
    return Stages(
        **{n: stage if is_ours(stage) else _guarded(n, stage) for n, stage in own.items()}
    )


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's own stage, whose exceptions become :class:`OwnCodeError`."""

    def call(*given: Any, **named: Any) -> Any:
        with own_code(f"train.stages.{name}", function):
            result = function(*given, **named)
            if not isinstance(result, StageResult):
                raise TypeError(f"it returned {result!r}; return a StageResult")
        return result

    return call
