"""GEPA behind the seam does what its package does by itself, and what ends a run ends it too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skillopt import Plugins, train
from skillopt.config.inputs import read_config
from skillopt.core.errors import PausedError
from skillopt.core.types import Task
from tests.helpers.conversation import Says
from tests.helpers.small import untimed
from tests.helpers.tiny import Tiny, tiny

gepa = pytest.importorskip("gepa")

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "gepa.json").read_text())
BUDGET = 40
Calls = list[tuple[str, list[str], bool]]


def reflected_on(prompt: str) -> str:
    """The instructions that a reflection is about: those between the first fences."""
    found = re.search(r"```\n(.*?)\n```", prompt, re.DOTALL)
    assert found is not None
    return found[1]


def answer(prompt: str) -> str:
    """The instructions with one rule more, up to three, the second of which loses the first."""
    body = reflected_on(prompt)
    rules = len(re.findall(r"- rule \d", body))
    if rules == 1 and "- rule 0" in body and "once" not in body:
        body = body.replace("- rule 0", "- once")
    return f"So:\n```\n{body}\n- rule {min(rules, 2)}\n```"


def by_itself() -> tuple[Calls, list[str], Any]:
    """The package's own adapter and evaluator on the same items, as its first example shows it:
    its evaluations, what its reflections were about, its result."""
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter

    calls: Calls = []
    reflections: list[str] = []

    def reflect(prompt: str) -> str:
        reflections.append(reflected_on(prompt))
        return answer(prompt)

    class Recording(DefaultAdapter):
        def evaluate(self, batch: Any, candidate: Any, capture_traces: bool = False) -> Any:
            names = [data["input"] for data in batch]
            calls.append((candidate["body"], names, capture_traces))
            return super().evaluate(batch, candidate, capture_traces)

    def items(split: str) -> list[dict[str, Any]]:
        return [
            {"input": f"{split}-{n}", "additional_context": {}, "answer": f"- rule {n}"}
            for n in range(3)
        ]

    result = gepa.optimize(
        {"body": "# Rules"},
        items("train"),
        items("val"),
        Recording(lambda messages: str(messages[0]["content"])),
        reflection_lm=reflect,
        reflection_minibatch_size=2,
        max_metric_calls=BUDGET,
        seed=42,
        raise_on_exception=True,
    )
    return calls, reflections, result


def run(tiny: Tiny, says: Says, **settings: Any) -> Any:
    tiny.write(
        method={"kind": "gepa", "rollouts": BUDGET, "minibatch": 2},
        optimizer={"upstream": "says", "name": "m"},
        upstreams__says={"kind": "sim"},
        **settings,
    )
    return train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))


def test_the_same_replies_give_the_same_calls_and_the_same_result(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skillopt.methods.gepa import SkillAdapter

    calls: Calls = []
    measured = SkillAdapter.evaluate

    def evaluate(self: Any, batch: Any, candidate: Any, capture_traces: bool = False) -> Any:
        names = [one.name if isinstance(one, Task) else one for one in batch]
        calls.append((candidate["body"], names, capture_traces))
        return measured(self, batch, candidate, capture_traces)

    monkeypatch.setattr(SkillAdapter, "evaluate", evaluate)
    says = Says(answer)
    result = run(tiny, says)
    expected, reflections, theirs = by_itself()
    assert [list(call) for call in expected] == FIXTURE["calls"]
    assert calls == expected and len(theirs.candidates) > 2
    assert [reflected_on(prompt) for prompt in says.prompts] == reflections
    assert result.best.body == theirs.best_candidate["body"]
    assert result.summary["best_score"] == max(theirs.val_aggregate_scores)
    assert result.summary["rollouts_asked"] == theirs.total_metric_calls
    accepted = [row for row in result.history if row["selection_score"] is not None]
    scores = [row["selection_score"] for row in accepted]
    assert scores == theirs.val_aggregate_scores[1:]


def test_a_limit_stops_it_and_a_higher_one_lets_it_go_on(tiny: Tiny) -> None:
    says = Says(answer)
    assert not run(tiny, says, limits={"rollouts": 8}).done
    stopped = tiny.summary
    assert "limits.rollouts" in stopped["stopped"] and stopped["spent"]["rollouts"] == 8
    asked = len(says.prompts)
    resumed = run(tiny, says, limits={"rollouts": 1000})
    assert resumed.done
    undisturbed = Says(answer)
    apart = run(tiny, undisturbed, name="apart", runs="runs-apart")
    assert resumed.best == apart.best and untimed(resumed.history) == untimed(apart.history)
    assert says.prompts == undisturbed.prompts and len(says.prompts) > asked > 0


def test_an_error_in_a_reflection_ends_the_run_and_not_the_iteration(tiny: Tiny) -> None:
    """The package catches what its model raises, and would go on without it to the end of its
    budget."""
    tiny.write(limits={"stages": {"reflect": {"tokens": 1}}})
    says = Says(answer)
    assert not run(tiny, says).done
    assert "limits.stages.reflect.tokens" in tiny.summary["stopped"]
    assert len(says.prompts) == 1


def test_replies_of_no_use_pause_the_run_and_are_asked_for_again(tiny: Tiny) -> None:
    with pytest.raises(PausedError, match="not one of 3 replies could be used"):
        run(tiny, Says(lambda prompt: " "))
    assert len(tiny.events("step_done")) == 2 and not tiny.events("method_done")
    result = run(tiny, Says(answer))
    assert result.done and result.summary["accepted"]


def test_failing_infrastructure_pauses_it(tiny: Tiny) -> None:
    tiny.own(
        "from sandboxes.base import SandboxError\n\n\n"
        "class Broken(Writer):\n"
        "    def run(self, request, site):\n"
        "        if request.skill and '- rule' in (request.skill / 'SKILL.md').read_text():\n"
        "            raise SandboxError('no engine')\n"
        "        return super().run(request, site)\n"
    )
    with pytest.raises(PausedError, match="no engine"):
        run(tiny, Says(answer), harness__name="own:Broken")
    assert not tiny.events("method_done")
