"""Reflection, merge, ranking, repair and memory: what they ask, and what they make of replies."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.base import Status
from skillopt.core.metric import Scorer
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, Finding, GateDecision, Patch, RejectedEdit, Rollout
from skillopt.optimizer.memory import rejection, remembered, render_memory
from skillopt.optimizer.merge import merge
from skillopt.optimizer.model import OptimizerUnavailableError, StageResult
from skillopt.optimizer.pairs import Pair
from skillopt.optimizer.rank import rank
from skillopt.optimizer.reflect import minibatches, reflect
from skillopt.optimizer.repair import apply_or_repair
from tests.helpers.values import (
    SKILL,
    ScriptedOptimizer,
    a_briefing,
    a_rollout,
    a_task,
    edit,
    reflected,
)


def by_kind(prompt: str) -> dict[str, Any]:
    """A reflection that proposes one edit, of failures or successes as asked."""
    if "# Trajectories that failed" in prompt:
        return {"failure_types": [], "reasoning": "f", "edits": [reflected("- f")]}
    return {"patterns": [], "reasoning": "s", "edits": [reflected("- s")]}


def run_reflect(
    rollouts: list[Rollout], model: ScriptedOptimizer, **options: Any
) -> StageResult[tuple[Patch, ...]]:
    size = options.pop("minibatch", 8)
    return reflect(rollouts, a_briefing(model, **options), minibatch=size)


def shown(model: ScriptedOptimizer) -> list[list[str]]:
    """The task numbers in each reflection prompt."""
    return [re.findall(r"chore (\d+)", prompt) for prompt in model.prompts["reflect"]]


def test_reflection_takes_failures_and_successes_apart_in_minibatches() -> None:
    rollouts = [
        a_rollout(a_task(f"t{n}", f"chore {n}"), reward=1.0 if n < 3 else 0.5) for n in range(12)
    ]
    model = ScriptedOptimizer(reflect=by_kind)
    result = run_reflect(rollouts, model)
    assert [patch.source for patch in result.value] == ["failure", "failure", "success"]
    assert [len(batch) for batch in shown(model)] == [4, 5, 3]
    assert sorted([n for batch in shown(model)[:2] for n in batch]) == sorted(
        str(n) for n in range(3, 12)
    )
    assert [call.about for call in result.calls] == [
        "failure minibatch 1 of 2",
        "failure minibatch 2 of 2",
        "success minibatch 1 of 1",
    ]


def test_reflection_is_shuffled_by_seed_alone() -> None:
    rollouts = [a_rollout(a_task(f"t{n}", f"chore {n}")) for n in range(9)]
    seen = []
    for seed in ("1", "1", "2"):
        model = ScriptedOptimizer(reflect=by_kind)
        run_reflect(rollouts, model, seed=seed)
        seen.append(shown(model))
    assert seen[0] == seen[1] != seen[2]


def test_reflection_leaves_unscored_rollouts_out() -> None:
    model = ScriptedOptimizer(reflect=by_kind)
    assert run_reflect([a_rollout(status=Status.INFRA_ERROR)], model).value == ()
    assert not model.prompts


def test_reflection_with_no_budget_asks_nothing() -> None:
    model = ScriptedOptimizer()
    assert run_reflect([a_rollout()], model, budget=0) == StageResult(())
    assert not model.prompts


def test_a_failed_reflection_is_recorded_and_the_others_count() -> None:
    class Failing(ScriptedOptimizer):
        def ask(self, stage: str, about: str, system: str, prompt: str, schema: Any) -> Any:
            self.answers = {} if "chore 0" in prompt else {"reflect": by_kind}
            return super().ask(stage, about, system, prompt, schema)

    rollouts = [a_rollout(a_task(f"t{n}", f"chore {n}")) for n in range(2)]
    result = run_reflect(rollouts, Failing(), minibatch=1)
    assert len(result.value) == 1
    assert len(result.errors) == 1
    assert re.match(r"reflect: failure minibatch \d of 2: malformed reply", result.errors[0])


def test_a_single_success_is_no_habit() -> None:
    rollouts = [a_rollout(a_task(f"t{n}", f"chore {n}"), float(n == 0)) for n in range(3)]
    model = ScriptedOptimizer(reflect=by_kind)
    assert [patch.source for patch in run_reflect(rollouts, model).value] == ["failure"]
    assert len(model.prompts["reflect"]) == 1


def test_minibatches_are_even() -> None:
    rollouts = [a_rollout(a_task(f"t{n}")) for n in range(17)]
    for size, parts in ((8, [5, 6, 6]), (17, [17]), (16, [8, 9]), (1, [1] * 17), (40, [17])):
        assert [len(part.rollouts) for part in minibatches(rollouts, "s", size)] == parts
    assert minibatches([], "s", 8) == []


def test_a_reflection_proposes_more_than_the_budget_for_ranking_to_choose() -> None:
    many = {"failure_types": [], "reasoning": "", "edits": [reflected(f"- {n}") for n in range(9)]}
    for budget, most in ((2, 4), (6, 6), (None, 9)):
        model = ScriptedOptimizer(reflect=many)
        result = run_reflect([a_rollout()], model, budget=budget)
        assert len(result.value[0].edits) == most
    assert run_reflect([a_rollout()], model, budget=0).value == ()
    empty = ScriptedOptimizer(reflect={**many, "edits": []})
    assert run_reflect([a_rollout()], empty).value == ()


def test_reflections_are_told_of_the_whole_step() -> None:
    model = ScriptedOptimizer(reflect=by_kind)
    run_reflect([a_rollout()] * 2, model, ran=24, solved=6, agent="Codex CLI with the model m.")
    (prompt,) = model.prompts["reflect"]
    assert "Of this step's 24 runs 6 were solved and 18 failed; 2 of these are shown" in prompt
    assert prompt.startswith("# The agent\n\nCodex CLI with the model m.\n")


def test_runs_that_an_edit_would_have_helped_are_counted_through_merge_and_rank() -> None:
    def reflection(prompt: str) -> dict[str, Any]:
        types = [{"name": "Time_zone", "count": 2}, {"name": "null", "count": 99}]
        return {"failure_types": types, "reasoning": "", "edits": [reflected("- UTC", 1, 2, 2, 7)]}

    rollouts = [a_rollout(a_task(f"t{n}", f"chore {n}")) for n in range(6)]
    model = ScriptedOptimizer(
        reflect=reflection,
        merge={"reasoning": "", "edits": [{"sources": [2, 1], "content": ""}]},
        rank={"reasoning": "", "order": [1]},
    )
    patches = list(run_reflect(rollouts, model, minibatch=3).value)
    assert [len(patch.edits[0].runs) for patch in patches] == [2, 2]
    assert patches[0].findings == (Finding("Time_zone", 2), Finding("null", 3))
    patches[1] = replace(
        patches[1],
        edits=(replace(patches[1].edits[0], content="- In UTC"),),
        findings=(Finding("time zone", 1),),
    )
    merged = merge(patches, a_briefing(model, ran=10, solved=4))
    (edit,) = merged.value.edits
    assert edit.content == "- In UTC" and edit.support == 2
    assert set(edit.runs) == {run for patch in patches for run in patch.edits[0].runs}
    assert merged.value.findings == (Finding("Time_zone", 3), Finding("null", 3))
    rank([edit, *EDITS], a_briefing(model, budget=1, ran=10, solved=4))
    assert "would have helped: 4 runs (this step has 6 that failed)" in model.prompts["rank"][0]
    assert "would have helped: 2 runs" in model.prompts["merge"][0]


@pytest.mark.parametrize(
    ("numbers", "helped"),
    [
        ([1], [1]), ([2], [2]), ([2, 1], [2, 1]), ([1, 1, 2, 1], [1, 2]),
        # Numbers of no trajectory: the first has the number 1.
        ([0], []), ([-1], []), ([3], []), ([0, 2, 3], [2]), ([], []),
    ],
)  # fmt: skip
def test_the_numbers_of_trajectories_begin_at_one(numbers: list[int], helped: list[int]) -> None:
    rollouts = [a_rollout(a_task(f"t{n}")).model_copy(update={"key": f"k{n}"}) for n in (1, 2)]
    order = [one.key for one in minibatches(rollouts, "1", 8)[0].rollouts]
    reply = {"failure_types": [], "reasoning": "", "edits": [reflected("- a", *numbers)]}
    (patch,) = run_reflect(rollouts, ScriptedOptimizer(reflect=reply)).value
    assert patch.edits[0].runs == tuple(order[n - 1] for n in helped)


@pytest.mark.parametrize(("count", "counted"), [(-3, 0), (-1, 0), (0, 0), (1, 1), (2, 2), (3, 2)])
def test_a_finding_is_of_some_of_the_shown_trajectories(count: int, counted: int) -> None:
    reply = {"failure_types": [{"name": "late", "count": count}], "reasoning": "", "edits": []}
    (patch,) = run_reflect([a_rollout()] * 2, ScriptedOptimizer(reflect=reply)).value
    assert patch.findings == (Finding("late", counted),)


def test_patches_without_edits_and_findings_are_dropped() -> None:
    many = {"failure_types": [], "reasoning": "", "edits": []}
    assert run_reflect([a_rollout()], ScriptedOptimizer(reflect={**many, "edits": []})).value == ()


def test_an_unavailable_model_is_passed_on() -> None:
    class Down(ScriptedOptimizer):
        def ask(self, stage: str, about: str, system: str, prompt: str, schema: Any) -> Any:
            raise OptimizerUnavailableError("503")

    with ThreadPoolExecutor(2) as pool, pytest.raises(OptimizerUnavailableError):
        run_reflect([a_rollout()] * 3, Down(), parallel=pool.map, minibatch=1)


def patches(kind: Any, *contents: str) -> list[Patch]:
    return [Patch((Edit("append", "", text),), kind, kind) for text in contents]


def keep_all(prompt: str) -> dict[str, Any]:
    """A merge that keeps every edit."""
    contents = re.findall(r"- content:\n\n```\n(.*)\n```", prompt)
    items = [{"sources": [n], "content": ""} for n in range(1, len(contents) + 1)]
    return {"reasoning": "all", "edits": items}


def run_merge(given: list[Patch], model: ScriptedOptimizer, batch: int = 8) -> StageResult[Patch]:
    return merge(given, a_briefing(model), batch=batch)


def test_merge_goes_level_by_level_and_failures_come_first() -> None:
    model = ScriptedOptimizer(merge=keep_all)
    given = [
        *patches("success", "- s0", "- s1"),
        *patches("failure", *(f"- f{n}" for n in range(9))),
    ]
    result = run_merge(given, model, batch=4)
    # Failures: groups of 4, 4, 1, the last of which needs no call, then the three; successes: one.
    assert [call.about for call in result.calls] == [
        "failure patches, group 1 of 3",
        "failure patches, group 2 of 3",
        "failure patches, group 1 of 1",
        "success patches, group 1 of 1",
        "failures with successes",
    ]
    assert [e.content for e in result.value.edits] == [f"- f{n}" for n in range(9)] + [
        "- s0",
        "- s1",
    ]
    assert "Edits 1 to 9 come from failures" in model.prompts["merge"][-1]
    assert result.errors == ()


def test_a_patch_without_edits_is_no_side_of_a_merge() -> None:
    """A failure that taught nothing leaves the successes as they are, and the other way round."""
    model = ScriptedOptimizer(merge=keep_all)
    nothing = replace(patches("failure", "- x")[0], edits=())
    for source, other in (("failure", "success"), ("success", "failure")):
        given = [replace(nothing, source=source), *patches(other, "- a", "- b")]
        result = run_merge(given, model)
        assert [call.about for call in result.calls] == [f"{other} patches, group 1 of 1"]
        assert [edit.content for edit in result.value.edits] == ["- a", "- b"]


def test_merge_without_need_asks_nothing() -> None:
    model = ScriptedOptimizer()
    assert run_merge([], model).value == Patch(())
    assert run_merge(patches("failure", "- a"), model).value.edits == (Edit("append", "", "- a"),)
    same = run_merge([*patches("failure", "- a", "-  a"), *patches("success", "- a")], model)
    assert [(e.content, e.support) for e in same.value.edits] == [("- a", 3)]
    assert not model.prompts


@pytest.mark.parametrize(
    ("given", "united"),
    [
        # (content, reason) by patch; then what is left, with its support.
        ([[("- a", "1"), ("- b", "2")]], [("- a", "1", 1), ("- b", "2", 1)]),
        # Twice in one patch is one proposal, the first, in the first one's place.
        (
            [[("- a", "1"), ("- b", "2"), ("-  a", "3")], [("- c", "4")]],
            [("- a", "1", 1), ("- b", "2", 1), ("- c", "4", 1)],
        ),
        ([[("-  a", "1"), ("- a", "2")], [("- b", "3")]], [("-  a", "1", 1), ("- b", "3", 1)]),
        # In several patches they are added up.
        (
            [[("- a", "1"), ("- b", "2")], [("- b", "3"), ("-  a", "4")], [("- b", "5")]],
            [("- a", "1", 2), ("- b", "2", 3)],
        ),
        ([[("- A", "1")], [("- a", "2")]], [("- A", "1", 1), ("- a", "2", 1)]),
    ],
)
def test_the_same_edit_counts_once_in_each_patch(
    given: list[list[tuple[str, str]]], united: list[tuple[str, str, int]]
) -> None:
    made = [
        Patch(tuple(Edit("append", "", text, why) for text, why in each), source="failure")
        for each in given
    ]
    # The optimizer is not there, so that they are left side by side.
    found = run_merge(made, ScriptedOptimizer()).value.edits
    assert [(e.content, e.reason, e.support) for e in found] == united


def test_what_successes_show_is_no_type_of_failure() -> None:
    late, calm = (Finding("late", 2),), (Finding("calm", 3),)
    made = [
        Patch((Edit("append", "", "- a"),), source="failure", findings=late),
        Patch((Edit("append", "", "- a"),), source="success", findings=calm),
        Patch((), source="failure", findings=late),
    ]
    assert run_merge(made, ScriptedOptimizer()).value.findings == (Finding("late", 4),)


@pytest.mark.parametrize("other", [{"kind": "delete"}, {"file": "a.md"}, {"target": "x"}])
def test_edits_that_differ_in_more_than_words_are_not_the_same(other: dict[str, Any]) -> None:
    edits = Edit("replace", "t", "- a"), replace(Edit("replace", "t", "- a"), **other)
    made = [Patch((one,), source="failure") for one in edits]
    assert run_merge(made, ScriptedOptimizer()).value.edits == edits


def test_merged_edits_carry_the_support_of_their_sources() -> None:
    answer = {
        "reasoning": "",
        "edits": [
            {"sources": [1, 2, 2, 9], "content": "- both"},
            {"sources": [], "content": "- invented"},
        ],
    }
    result = run_merge(patches("failure", "- a", "- a", "- b"), ScriptedOptimizer(merge=answer))
    assert [(e.content, e.support) for e in result.value.edits] == [("- both", 3)]
    assert result.errors == (
        "merge: failure patches, group 1 of 1: 1 edits without a source left out",
    )


def test_a_merged_edit_would_have_helped_each_run_once() -> None:
    helped = [("a", "b"), ("b", "c"), ("a",)]
    given = [
        Patch((Edit("append", content="- a", runs=runs),), source="failure") for runs in helped
    ]
    (one,) = run_merge(given, ScriptedOptimizer()).value.edits
    assert (one.support, one.runs) == (3, ("a", "b", "c"))


def test_a_failed_merge_keeps_the_edits_side_by_side() -> None:
    result = run_merge(patches("failure", "- a", "- b", "- a"), ScriptedOptimizer())
    assert [(e.content, e.support) for e in result.value.edits] == [("- a", 2), ("- b", 1)]
    assert "edits kept unmerged" in result.errors[0]


@given(
    st.lists(
        st.tuples(st.sampled_from(["failure", "success"]), st.sampled_from("abcdefgh")), max_size=25
    ),
    st.integers(2, 5),
)
def test_merging_loses_and_invents_nothing(given: list[tuple[Any, str]], batch: int) -> None:
    all_patches = [patch for kind, text in given for patch in patches(kind, text)]
    result = run_merge(all_patches, ScriptedOptimizer(merge=keep_all), batch=batch)
    assert {e.content for e in result.value.edits} == {text for _, text in given}
    assert sum(e.support for e in result.value.edits) == len(given)


EDITS = tuple(Edit("append", "", f"- {n}") for n in range(1, 6))


def run_rank(model: ScriptedOptimizer, budget: int | None) -> StageResult[tuple[Edit, ...]]:
    return rank(EDITS, a_briefing(model, budget=budget))


def test_ranking_is_asked_only_when_there_are_too_many() -> None:
    assert run_rank(ScriptedOptimizer(), 5) == StageResult(EDITS)
    assert run_rank(ScriptedOptimizer(), None) == StageResult(EDITS)
    assert run_rank(ScriptedOptimizer(), 0) == StageResult(())


@pytest.mark.parametrize(("count", "made"), [(2, 2), (0, 0), (99, 5), (-1, 0)])
def test_an_autonomous_schedule_lets_the_optimizer_choose_the_number(count: int, made: int) -> None:
    model = ScriptedOptimizer(rank={"reasoning": "", "order": [5, 4, 3, 2, 1], "count": count})
    result = rank(EDITS, a_briefing(model, budget=None, autonomous=True))
    assert [e.content for e in result.value] == [f"- {n}" for n in range(5, 5 - made, -1)]
    assert "Decide how many of these 5 edits" in model.prompts["rank"][0]


@pytest.mark.parametrize(
    ("order", "chosen", "error"),
    [
        ([3, 1, 2, 4, 5], [3, 1], ""),
        ([3, 3, 9, 0, -1, 2], [3, 2], ""),
        ([4], [4, 1], "ranked 1 edits only"),
    ],
)
def test_ranking(order: list[int], chosen: list[int], error: str) -> None:
    result = run_rank(ScriptedOptimizer(rank={"reasoning": "", "order": order}), 2)
    assert [e.content for e in result.value] == [f"- {n}" for n in chosen]
    assert [error in e for e in result.errors] == ([True] if error else [])


def test_if_ranking_fails_the_first_stay_and_it_is_said() -> None:
    result = run_rank(ScriptedOptimizer(), 2)
    assert result.value == EDITS[:2]
    assert "the first 2 stay" in result.errors[0]


def run_repair(edits: list[Edit], budget: int, model: ScriptedOptimizer) -> Any:
    return apply_or_repair(edits, a_briefing(model, budget=budget))


LOST = Edit("insert_after", "nowhere", "- lost")


def test_edits_that_do_not_apply_go_back_once() -> None:
    model = ScriptedOptimizer(
        apply={"reasoning": "", "edits": [edit("- found"), edit("- two much")]}
    )
    result = run_repair([Edit("append", "", "- a"), LOST], 2, model)
    skill, outcomes = result.value
    assert skill.body.endswith("- a\n- found")
    assert [o.applied for o in outcomes] == [True, False, True, False]
    (prompt,) = model.prompts["apply"]
    assert "Not applied: target not found" in prompt
    assert "- a\n```" in prompt  # The skill is shown as it is by now.


def test_what_cannot_be_mended_is_not_sent_back() -> None:
    model = ScriptedOptimizer()
    run_repair([Edit("append", "", "- Read the request first.")], 2, model)  # Already there.
    run_repair([Edit("append", "", "- a"), LOST], 1, model)  # Nothing left of the budget.
    run_repair([LOST], 0, model)
    assert not model.prompts


def test_a_failed_repair_is_said() -> None:
    result = run_repair([LOST], 1, ScriptedOptimizer())
    assert result.value[0] == SKILL
    assert result.errors[0].startswith("apply: 1 edits that did not apply: malformed")


def decision(accepted: bool) -> GateDecision:
    return GateDecision(
        accepted=accepted, score_before=0.5, score_after=0.75 if accepted else None,
        upper_bound=0.25, total=8, broken=("t1", "t2"), rollouts=(), reason="",
    )  # fmt: skip


def test_memory_keeps_rejected_edits_and_shows_them_newest_first() -> None:
    entries = [
        rejection(1, EDITS[:2], decision(accepted=False)),
        rejection(2, EDITS[2:3], decision(accepted=True)),
        rejection(3, EDITS[3:4], decision(accepted=False)),
        rejection(4, (), decision(accepted=False)),
        rejection(5, EDITS[:1], None),
    ]
    memory = tuple(entry for entry in entries if entry)
    assert [entry.step for entry in memory] == [1, 3]
    assert memory[0] == RejectedEdit(1, EDITS[:2], 0.5, 0.25, ("t1", "t2"), 0, 8)
    text = render_memory(memory)
    stopped = "rejected, stopped at 0 of 8 tasks, at best 0.250 against 0.500, 2 tasks got worse"
    assert text.index("Step 3") < text.index(
        f"Step 1: {stopped}; these 2 together, none of them alone:"
    )
    assert "append: '- 1'" in text
    assert "t1" not in text  # A task's name is none of the optimizer's business.


def test_a_joint_verdict_is_told_as_joint_and_a_whole_one_with_both_scores() -> None:
    whole = RejectedEdit(4, EDITS[:4], 0.25, 0.2, (), 17, 17)
    assert "0.250 → 0.200 on 17 tasks; these 4 together, none of them alone:" in render_memory(
        [whole]
    )
    alone = replace(whole, edits=EDITS[:1])
    assert render_memory([alone]).startswith(
        "Step 4: rejected, 0.250 → 0.200 on 17 tasks; alone:\n  append"
    )
    close = replace(alone, score_after=0.3, undecided=True)
    assert "Step 4: undecided, may return, 0.250 → 0.300 on 17" in render_memory([close])
    older = RejectedEdit(1, EDITS[:1], 0.5, 0.4, ())
    assert "rejected, at best 0.400 against 0.500; alone:" in render_memory([older])


def test_rejections_fade() -> None:
    memory = [RejectedEdit(step, EDITS[:1], 0.5, 0.4, ()) for step in range(1, 31)]
    assert [e.step for e in remembered(memory, 31, 4)] == list(range(21, 31))
    assert [e.step for e in remembered(memory, 31, 20)] == list(range(11, 31))


def test_memory_stays_within_its_tokens() -> None:
    entry = RejectedEdit(1, (Edit("append", "", "word " * 500),), 0.5, 0.4, ())
    text = render_memory([entry] * 50, tokens=600)
    assert estimate_tokens(text) <= 620
    assert "older rejections are not shown" in text
    assert render_memory(()) == ""


def test_every_stage_shows_the_memory() -> None:
    memory = (RejectedEdit(1, (Edit("append", "", "- bad idea"),), 0.5, 0.4, ()),)
    model = ScriptedOptimizer(
        reflect=by_kind,
        merge=keep_all,
        rank={"reasoning": "", "order": [1]},
        apply={"reasoning": "", "edits": []},
    )
    run_reflect([a_rollout()], model, memory=memory)
    briefing = a_briefing(model, memory=memory, budget=1)
    merge(patches("failure", "- a", "- b"), briefing)
    rank(EDITS, briefing)
    apply_or_repair([LOST], briefing)
    assert set(model.prompts) == {"reflect", "merge", "rank", "apply"}
    for prompts in model.prompts.values():
        assert all("- bad idea" in p and p.count(SKILL.body) == 1 for p in prompts)


def test_replies_are_closed_schemas() -> None:
    from skillopt.optimizer import replies

    for schema in (replies.FailureReflection, replies.SuccessReflection, replies.Merge):
        text = json.dumps(schema.model_json_schema())
        assert '"additionalProperties": false' in text
        assert '"default"' not in text  # Services that enforce a schema want every field required.
        assert next(iter(schema.model_json_schema()["properties"])) == "reasoning"


def test_a_schema_offers_what_the_run_allows() -> None:
    from skillopt.optimizer import replies

    for schema in (replies.FailureReflection, replies.Repair, replies.Compression):
        for notes in (True, False):
            for files in (True, False):
                text = json.dumps(replies.offered(schema, notes, files).model_json_schema())
                assert ('"note"' in text) == (notes and "kind" in text)
                assert ('"file"' in text or '"files"' in text) == files
                assert schema.__name__ in text and "Offered" not in text
    off = replies.offered(replies.FailureReflection, False, False)
    reply = json.dumps({"reasoning": "", "failure_types": [], "edits": [reflected("- a")]})
    assert isinstance(off.model_validate_json(reply), replies.FailureReflection)


def test_a_soft_metric_decides_what_is_a_failure_and_what_got_worse() -> None:
    soft = Scorer("soft")
    rewards = [0.97, 0.2, 0.95, 0.5]
    rollouts = [
        a_rollout(a_task(f"t{n}", f"chore {n}"), reward) for n, reward in enumerate(rewards)
    ]
    model = ScriptedOptimizer(reflect=by_kind)
    found = run_reflect(rollouts, model, scorer=soft)
    assert [patch.source for patch in found.value] == ["failure", "success"]
    assert [sorted(batch) for batch in shown(model)] == [["1", "3"], ["0", "2"]]
    pairs = [Pair(rollouts[a], rollouts[b], soft) for a, b in ((1, 2), (2, 1), (1, 1), (0, 0))]
    assert [p.change for p in pairs] == ["improved", "regressed", "still failing", "stable"]
