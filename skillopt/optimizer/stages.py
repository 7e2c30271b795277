"""The optimizer's stages by name. A user may replace each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from skillopt.core.skill import Skill
from skillopt.core.types import Edit, Patch
from skillopt.optimizer.merge import merge
from skillopt.optimizer.meta_skill import meta_skill
from skillopt.optimizer.model import StageResult
from skillopt.optimizer.rank import rank
from skillopt.optimizer.reflect import reflect
from skillopt.optimizer.repair import Applied, apply_or_repair
from skillopt.optimizer.slow_update import slow_update


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
        ValueError: there is no replaceable stage of that name.
    """
    known = [field.name for field in fields(Stages)]
    unknown = sorted(set(own) - set(known))
    if unknown:
        raise ValueError(f"train.stages: {unknown[0]!r} is not one of {', '.join(known)}")
    return Stages(**own)
