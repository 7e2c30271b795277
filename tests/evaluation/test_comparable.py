"""Which runs can be compared, and what their methods differ in besides."""

from __future__ import annotations

from typing import Any

import pytest

from skillopt.core.files import digest_of
from skillopt.evaluation.comparable import (
    SHOWN,
    budget_of,
    check_comparable,
    differences,
    method_of,
    seed_of,
    setup_of,
)
from skillopt.run.folder import RunError
from skillopt.run.records import RunCreated

TESTS = [{"id": "t", "family": "f", "digest": "d"}]


def created(fingerprint: dict[str, Any] | None = None, **changes: Any) -> RunCreated:
    config: dict[str, Any] = {
        "seed": 3, "harness": {"name": "codex"}, "target": {"name": "m"},
        "method": {"kind": "gepa"},
    }  # fmt: skip
    for key, value in changes.items():
        if key != "test":
            config[key] = value
    return RunCreated(
        format=1, name="r", config=config, fingerprint=fingerprint or {},
        splits={"test": changes.get("test", TESTS)},
    )  # fmt: skip


def mixed(metric: str, mix: float) -> RunCreated:
    return created(gate={"metric": metric, "mix": mix})


def test_a_run_knows_its_method_seed_and_budget() -> None:
    one = created(method={"kind": "gepa", "rollouts": 50})
    assert (method_of(one), seed_of(one), budget_of(one)) == ("gepa", 3, 50)
    old = created(method={})
    assert (method_of(old), budget_of(old)) == ("skillopt", None)
    assert method_of(RunCreated(name="r", config={}, fingerprint={}, splits={})) == "skillopt"


SEEDS = " (runs with different seeds have, if tasks.split_seed is given)"


@pytest.mark.parametrize(
    ("one", "other", "what", "hint"),
    [
        (created(), created(), "", ""),
        (created(), created(test=[]), "test tasks", ""),
        (created(), created(test=[], seed=4), "test tasks", SEEDS),
        (created(), created(harness={"name": "opencode"}), "agents", ""),
        (created(), created(harness={"name": "opencode"}, seed=4), "agents", ""),
        (created(), created(target={"name": "other"}), "models", ""),
        (created(), created(gate={"metric": "soft"}), "metrics", ""),
        (mixed("mixed", 0.5), mixed("mixed", 0.6), "metrics", ""),
        (mixed("soft", 0.5), mixed("soft", 0.6), "", ""),
        (created({"own.verifier": "a"}), created({"own.verifier": "b"}), "verifiers", ""),
        (created({"own.verifier": "a"}), created(), "verifiers", ""),
        (created({"own.verifiers": "a"}), created(), "", ""),
        (created({"judge": "a"}), created({"judge": "b"}), "judges", ""),
        (created({"judge.model": "a"}), created({"judge.model": "b"}), "judges", ""),
        (created({"judged": "a"}), created(), "", ""),
        (created({"target.name": "a"}), created(method={"kind": "none"}), "", ""),
    ],
)  # fmt: skip
def test_scores_of_other_tasks_agents_models_or_verdicts_are_not_compared(
    one: RunCreated, other: RunCreated, what: str, hint: str
) -> None:
    if not what:
        check_comparable(one, other, ("a", "b"))
        return
    with pytest.raises(RunError) as caught:
        check_comparable(one, other, ("a", "b"))
    assert str(caught.value) == (
        f"b has other {what} than a: their scores cannot be compared; train both with the same"
        f"{hint}"
    )


def test_a_setup_is_the_same_for_all_seeds() -> None:
    known = {"seed": "1", "upstreams.sim.seed": "2", "seeds": "3", "train.epochs": "4"}
    assert setup_of(created(known)) == {"seeds": "3", "train.epochs": "4"}


def told(**methods: tuple[str, dict[str, Any]]) -> list[str]:
    """The differences of methods, each a kind and its fingerprint."""
    return differences(
        {name: created(known, method={"kind": kind}) for name, (kind, known) in methods.items()}
    )


@pytest.mark.parametrize(
    ("first", "other", "said"),
    [
        (("gepa", {"a": 1}), ("textgrad", {"a": 1}), []),
        (("gepa", {"a": 1}), ("textgrad", {"a": 2}), ["a differs: 1 for x; 2 for y"]),
        (("gepa", {"a": 1}), ("textgrad", {}), ["a differs: 1 for x; (none) for y"]),
        (("gepa", {"seed": 1}), ("textgrad", {"seed": 2}), []),
        # Settings of a method itself are no difference besides it, but its budget is.
        (("gepa", {"method.x": 1}), ("textgrad", {"method.x": 2}), []),
        (("gepa", {"method.rollouts": 1}), ("textgrad", {"method.rollouts": 2}),
         ["method.rollouts differs: 1 for x; 2 for y"]),
        (("none", {"method.rollouts": 1}), ("textgrad", {"method.rollouts": 2}), []),
        (("human", {"method.rollouts": 1}), ("gepa", {"method.rollouts": 2}), []),
        (("one_shot", {"method.rollouts": 1}), ("gepa", {"method.rollouts": 2}), []),
        # What SkillOpt's loop alone obeys matters to it, and to a method of the user's own.
        (("skillopt", {"train.epochs": 1}), ("gepa", {"train.epochs": 2}), []),
        (("skillopt", {"train.stages.merge": 1}), ("gepa", {"train.stages.merge": 2}), []),
        (("skillopt", {"gate.kind": 1}), ("own:Method", {"gate.kind": 2}),
         ["gate.kind differs: 1 for x; 2 for y"]),
        (("skillopt", {"edits.max": 1}), ("skillopt", {"edits.max": 2}),
         ["edits.max differs: 1 for x; 2 for y"]),
        (("gepa", {"a": "x" * 64}), ("textgrad", {"a": "y" * (SHOWN + 5)}),
         [f"a differs: {'x' * 12}… for x; {'y' * SHOWN} for y"]),
    ],
)  # fmt: skip
def test_what_methods_differ_in_besides_themselves(
    first: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]], said: list[str]
) -> None:
    assert told(x=first, y=other) == said


def test_methods_that_are_alike_are_named_together() -> None:
    assert told(one=("gepa", {"a": 1}), two=("gepa", {"a": 2}), six=("gepa", {"a": 1})) == [
        "a differs: 1 for one, six; 2 for two"
    ]


def test_the_tasks_of_a_split_are_one_difference() -> None:
    one = {"tasks.train.a": "1", "tasks.train.b": "2", "tasks.val.c": "3"}
    other = {**one, "tasks.train.a": "9", "tasks.train.d": "8"}
    (line,) = told(x=("gepa", one), y=("gepa", other))
    digest = digest_of([["tasks.train.a", "1"], ["tasks.train.b", "2"]])
    assert line.startswith(f"tasks.train differs: {digest[:12]}… for x; ")
    again = {key: one[key] for key in reversed(one)}
    assert told(x=("gepa", one), y=("gepa", again)) == []
