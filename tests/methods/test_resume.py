"""A method's run goes on from whatever is in its log, and ends as if nothing had happened."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from skillopt import Plugins, RunResult, train
from skillopt.config.inputs import read_config
from skillopt.run.journal import LOG
from tests.helpers.cells import ALL_CELLS
from tests.helpers.conversation import Says, one_rule_more
from tests.helpers.small import untimed
from tests.helpers.tiny import Tiny, refused, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "textgrad": {"batch_size": 2, "epochs": 2},
    "evoskill": {"iterations": 4, "per_family": 2},
    "gepa": {"rollouts": 30, "minibatch": 2},
}
WITHOUT_GEPA = pytest.mark.skipif(find_spec("gepa") is None, reason="needs the extra methods")
KINDS = [pytest.param(kind, marks=[WITHOUT_GEPA] if kind == "gepa" else []) for kind in METHODS]


def run(tiny: Tiny, kind: str, says: Says, **settings: Any) -> RunResult:
    tiny.write(
        method={"kind": kind, **METHODS[kind]},
        optimizer={"upstream": "says", "name": "m"},
        upstreams__says={"kind": "sim"},
        **settings,
    )
    return train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))


def result_of(result: RunResult) -> tuple[Any, ...]:
    told = {k: v for k, v in result.summary.items() if k != "spent"}
    return result.best, untimed(result.history), told


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_ends_anywhere_is_continued(tiny: Tiny, kind: str) -> None:
    says = Says(one_rule_more)
    whole = run(tiny, kind, says)
    assert whole.done
    log = tiny.run / LOG
    lines = log.read_text().splitlines(keepends=True)
    kinds = [json.loads(line)["kind"] for line in lines]
    cuts = range(kinds.index("run_started"), len(lines) - 1)
    for cut in cuts if ALL_CELLS else cuts[::3]:
        log.write_text("".join(lines[:cut]))
        asked = len(says.prompts)
        again = run(tiny, kind, says)
        assert result_of(again) == result_of(whole), kinds[cut - 1]
        assert len(says.prompts) - asked == kinds[cut:].count("replied")
        records = [json.loads(line) for line in log.read_text().splitlines()]
        keys = [key for r in records if r["kind"] == "rollouts_asked" for key in r["keys"]]
        assert len(keys) == len(set(keys)) == again.summary["spent"]["rollouts_asked"]
        steps = [r["step"] for r in records if r["kind"] == "step_done"]
        assert steps == list(range(1, len(steps) + 1))
        assert sum(r["kind"] == "method_done" for r in records) == 1


@pytest.mark.parametrize(
    ("kind", "setting", "said"),
    [
        ("textgrad", {"epochs": 1}, "method.epochs: 2 -> 1"),
        ("textgrad", {"rollouts": 100}, "method.rollouts: (none) -> 100"),
        ("evoskill", {"frontier": 2}, "method.frontier: 3 -> 2"),
        ("none", {"kind": "one_shot"}, "method.kind: none -> one_shot"),
    ],
)
def test_other_settings_are_another_run(
    tiny: Tiny, kind: str, setting: dict[str, Any], said: str
) -> None:
    run(tiny, kind, Says(one_rule_more))
    log = tiny.run / LOG
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"kind":"run_done"' not in line))
    tiny.write(method={"kind": kind, **METHODS[kind], **setting})
    tiny.write(optimizer={"upstream": "sim", "name": "sim-1"})
    refused(tiny.train(), said)


def test_a_skill_that_was_given_may_not_change(tiny: Tiny) -> None:
    given = tiny.put("given/SKILL.md", "---\nname: given\ndescription: d\n---\n\n- rule 1\n")
    tiny.write(method={"kind": "human", "skill": "given"})
    assert tiny.train().returncode == 0
    assert (tiny.run / "best_skill.md").read_text() == given.read_text()
    assert tiny.summary["best_score"] == pytest.approx(1 / 3) and tiny.summary["accepted"] == 1
    log = tiny.run / LOG
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"kind":"run_done"' not in line))
    given.write_text(given.read_text() + "- rule 2\n")
    refused(tiny.train(), "method.skill: ")


def test_a_fork_takes_rollouts_and_replies(tiny: Tiny) -> None:
    says = Says(one_rule_more)
    whole = run(tiny, "textgrad", says)
    asked = len(says.prompts)
    forked = train(
        read_config(tiny.config), plugins=Plugins(upstreams={"says": says}), fork="forked"
    )
    assert forked.best == whole.best and len(says.prompts) == asked
    assert forked.summary["spent"]["rollouts"] == 0
    assert forked.summary["rollouts_asked"] == whole.summary["rollouts_asked"] > 0
