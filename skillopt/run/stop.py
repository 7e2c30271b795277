"""Stop conditions: functions from a run's state and spending to a reason to stop, or ''."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skillopt.config.schema import (
    AllConfig,
    CustomStopConfig,
    NoAcceptConfig,
    SpentConfig,
    StopConfig,
    TargetScoreConfig,
)
from skillopt.core.import_path import load, own_code, takes
from skillopt.run.spending import Spent, spending_reached
from skillopt.run.state import State

StopCondition = Callable[[State, Spent], str]


def any_of(conditions: Sequence[StopCondition]) -> StopCondition:
    """Stops if one of the conditions does, with its reason."""

    def stop(state: State, spent: Spent) -> str:
        return next((reason for c in conditions if (reason := c(state, spent))), "")

    return stop


def all_of(conditions: Sequence[StopCondition]) -> StopCondition:
    """Stops if all of the conditions do, with their reasons."""

    def stop(state: State, spent: Spent) -> str:
        reasons = [condition(state, spent) for condition in conditions]
        return " and ".join(reasons) if all(reasons) else ""

    return stop


def make_stop(configs: Sequence[StopConfig], own: Sequence[StopCondition] = ()) -> StopCondition:
    """A condition that stops if the config's or any of the user's own does.

    Raises:
        PluginError: an import path leads nowhere, or a function does not take what it is given.
    """
    return any_of([*(_make(config) for config in configs), *map(_guarded, own)])


def _guarded(condition: StopCondition) -> StopCondition:
    """A user's own condition, whose exceptions become :class:`OwnCodeError`."""
    takes(condition, "stop", "state", "spent")

    def stop(state: State, spent: Spent) -> str:
        with own_code("stop", condition):
            reason = condition(state, spent) or ""
            if not isinstance(reason, str):
                raise TypeError(f"it returned {reason!r}; return the reason to stop, or ''")
        return reason

    return stop


def _make(config: StopConfig) -> StopCondition:
    match config:
        case NoAcceptConfig():
            return lambda state, _: (
                f"no accepted edit in {config.steps} steps"
                if state.steps - state.last_accepted >= config.steps
                else ""
            )
        case TargetScoreConfig():
            return lambda state, _: (
                f"selection score {state.best_score:.3f} reached {config.score:g}"
                if state.best_score >= config.score
                else ""
            )
        case SpentConfig():
            return lambda _, spent: spending_reached(config, spent, "stop")
        case AllConfig():
            return all_of([_make(part) for part in config.of])
        case CustomStopConfig():
            return _guarded(load(config.path, "stop"))
