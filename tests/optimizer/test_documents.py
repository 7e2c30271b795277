"""Whole documents, guidance and notes: what is asked, what is refused, and what stays protected."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.skill import Layout, Skill
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, RejectedEdit, Rollout
from skillopt.optimizer.documents import (
    compress,
    draft,
    is_crowded,
    learn,
    rewrite,
    sample,
)
from skillopt.optimizer.meta_skill import meta_skill
from skillopt.optimizer.model import OptimizerReplyError, StageResult
from skillopt.optimizer.pairs import Pair
from skillopt.optimizer.regions import GUIDANCE, REMINDERS, region, with_region
from skillopt.optimizer.slow_update import slow_update
from tests.helpers.values import (
    SKILL,
    ScriptedOptimizer,
    a_briefing,
    a_rollout,
    a_task,
    keep_trajectory,
)

LONG = replace(SKILL, body=SKILL.body + "\n\n" + "Many words that say little. " * 100)
GUIDED = replace(SKILL, body=with_region(SKILL.body, GUIDANCE, "Broader advice."))


def document(body: str, description: str = "Use it for chores.") -> dict[str, str]:
    return {"reasoning": "r", "description": description, "body": body}


def compressed(model: ScriptedOptimizer, skill: Skill = LONG, **more: Any) -> StageResult[Skill]:
    return compress(a_briefing(model, skill=skill, max_tokens=200, **more))


def test_a_skill_is_compressed_by_the_optimizer_and_never_cut() -> None:
    model = ScriptedOptimizer(compress=document("# House rules\n\n- Read first."))
    result = compressed(model)
    assert result.value.body == "# House rules\n\n- Read first."
    assert result.errors == ()
    (prompt,) = model.prompts["compress"]
    assert f"about {estimate_tokens(LONG.text)} tokens, and may have 170 at most" in prompt
    assert "Nothing can be moved to other files" in prompt


def test_a_compression_that_is_too_long_is_asked_for_once_more_then_refused() -> None:
    model = ScriptedOptimizer(compress=document(LONG.body))
    result = compressed(model)
    assert result.value == LONG
    assert "more than the 200 allowed" in result.errors[0]
    first, second = model.prompts["compress"]
    assert "could not be used" not in first and "more than the 200 allowed" in second


def test_a_compression_must_be_shorter_than_the_skill() -> None:
    model = ScriptedOptimizer(compress=document(SKILL.body, SKILL.description))
    result = compressed(model, SKILL)
    assert result.value == SKILL and "not fewer than the" in result.errors[0]


def sized(tokens: int) -> Skill:
    """A skill of so many tokens."""
    base = len(replace(SKILL, body="x").text) - 1
    skill = replace(SKILL, body="x" * (4 * tokens - base))
    assert estimate_tokens(skill.text) == tokens
    return skill


@pytest.mark.parametrize(
    ("before", "allowed", "after", "reason"),
    [
        (300, 200, 200, ""),
        (300, 200, 201, "about 201 tokens, more than the 200 allowed"),
        (150, 200, 149, ""),
        (150, 200, 150, "about 150 tokens, not fewer than the 150 of the skill"),
        (200, 200, 199, ""),
        (200, 200, 200, "not fewer than the 200"),
        (201, 200, 200, ""),
    ],
)
def test_a_compression_is_refused_above_its_limits(
    before: int, allowed: int, after: int, reason: str
) -> None:
    model = ScriptedOptimizer(compress=document(sized(after).body))
    result = compress(a_briefing(model, skill=sized(before), max_tokens=allowed))
    assert result.value == sized(before if reason else after)
    assert len(model.prompts["compress"]) == (2 if reason else 1)
    assert reason in result.errors[0] if reason else not result.errors


@pytest.mark.parametrize(("tokens", "refused"), [(199, False), (200, False), (201, True)])
def test_a_rewrite_may_be_as_long_as_the_limit_and_as_the_skill(tokens: int, refused: bool) -> None:
    model = ScriptedOptimizer(apply=document(sized(tokens).body))
    edits = [Edit("append", content="- a")]
    for before in (100, 200):
        result = rewrite(edits, a_briefing(model, skill=sized(before), max_tokens=200))
        assert result.value == sized(before if refused else tokens)


@pytest.mark.parametrize(
    ("limit", "tokens", "crowded"),
    [(200, 170, False), (200, 171, True), (201, 171, False), (201, 172, True)],
)
def test_a_skill_is_crowded_above_85_percent_of_its_limit(
    limit: int, tokens: int, crowded: bool
) -> None:
    assert is_crowded(sized(tokens), limit) is crowded


@pytest.mark.parametrize(
    ("bodies", "left"),
    [
        (["# One", "# Two", "# Three"], "# Three"),
        # A rewrite that cannot be used leaves what the one before it made.
        (["# One", "# Two", None], "# Two"),
        (["# One", None, None], "# One"),
        ([None, "# Two", None], "# Two"),
        (["# One", None, "# Three"], "# Three"),
        ([None, None, None], "# Start"),
    ],
)
def test_each_lesson_goes_on_from_the_last_one_that_could_be_used(
    bodies: list[str | None], left: str
) -> None:
    made, seen = iter(bodies), list[str]()

    class Teaching(ScriptedOptimizer):
        def ask(self, stage: str, about: str, system: str, prompt: str, schema: Any) -> Any:
            seen.append(prompt)
            body = next(made)
            self.answers = {"reflect": document(body)} if body else {}
            return super().ask(stage, about, system, prompt, schema)

    start = replace(SKILL, body="# Start")
    rollouts = [a_rollout(a_task(f"t{n}")) for n in range(3)]
    result = learn(rollouts, a_briefing(Teaching()), start=start, minibatch=1)
    assert result.value.body == left and len(result.errors) == bodies.count(None)
    known = "# Start"
    for prompt, body in zip(seen, bodies, strict=True):
        assert known in prompt
        known = body or known


def test_long_material_moves_to_files_only_where_the_config_allows_it() -> None:
    moved = {"file": "references/words.md", "content": "Many words that say little."}
    reply = document("# Short\n\nSee references/words.md.") | {"files": [moved]}
    refused = compressed(ScriptedOptimizer(compress=reply))
    assert refused.value == LONG and "SKILL.md only" in refused.errors[0]
    allowed = compressed(ScriptedOptimizer(compress=reply), edit_files=True).value
    assert allowed.files["references/words.md"] == b"Many words that say little.\n"
    there = replace(LONG, files={"references/words.md": b"theirs\n"})
    kept = compressed(ScriptedOptimizer(compress=reply), there, edit_files=True)
    assert kept.value == there and "not a new file" in kept.errors[0]


@pytest.mark.parametrize(
    ("moved", "files", "reason"),
    [
        ([], {}, ""),
        ([("references/a.md", "One.")], {"references/a.md": "One.\n"}, ""),
        (
            [("references/a.md", "One."), ("references/b.md", "Two.")],
            {"references/a.md": "One.\n", "references/b.md": "Two.\n"},
            "",
        ),
        # Two parts may go into one new file.
        (
            [("references/a.md", "One."), ("references/a.md", "Two.")],
            {"references/a.md": "One.\n\nTwo.\n"},
            "",
        ),
        # Any that cannot be made is a reason, wherever it stands.
        ([("references/a.md", "One."), ("references/old.md", "Two.")], {}, "not a new file"),
        ([("references/a.md", "One."), ("", "Two.")], {}, "not a new file"),
        ([("references/a.md", "One."), ("../a.md", "Two.")], {}, "relative path"),
        ([("references/a.md", "One."), ("references/b.md", " ")], {}, "content is empty"),
    ],
)
def test_each_part_that_is_moved_is_in_its_new_file(
    moved: list[tuple[str, str]], files: dict[str, str], reason: str
) -> None:
    start = replace(LONG, files={"references/old.md": b"theirs\n"})
    parts = [{"file": file, "content": content} for file, content in moved]
    reply = document("# Short") | {"files": parts}
    result = compressed(ScriptedOptimizer(compress=reply), start, edit_files=True)
    if reason:
        assert result.value == start and reason in result.errors[0]
    else:
        made = {name: data.decode() for name, data in result.value.files.items()}
        assert made == {"references/old.md": "theirs\n", **files} and not result.errors


def test_plain_markdown_stays_so_whatever_description_the_optimizer_gives() -> None:
    text = LONG.body + "\n"
    plain = Skill("mine", "House rules", LONG.body, layout=Layout(text))
    made = compressed(ScriptedOptimizer(compress=document("# Short")), plain).value
    assert made.text == "# Short\n"


def test_guidance_and_reminders_are_kept_and_not_shown() -> None:
    body = with_region(with_region(LONG.body, REMINDERS, "## Reminders\n\n- Look."), GUIDANCE, "G.")
    model = ScriptedOptimizer(compress=document("# Short"))
    made = compressed(model, replace(LONG, body=body)).value
    assert region(made.body, GUIDANCE) == "G."
    assert region(made.body, REMINDERS) == "## Reminders\n\n- Look."
    assert "G." not in model.prompts["compress"][0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a\x07b", "control characters"),
        ("<!-- protected:guidance -->\nx\n<!-- /protected:guidance -->", "protected regions"),
        ("front\n---\nname: other", ""),
    ],
)
def test_a_document_that_is_no_skill_is_refused(body: str, reason: str) -> None:
    result = compressed(ScriptedOptimizer(compress=document(body)))
    assert (result.value == LONG) == bool(reason)
    assert reason in "".join(result.errors)


def test_a_users_own_protected_region_must_stay_as_it_is() -> None:
    own = "<!-- protected:legal -->\nDo not lie.\n<!-- /protected:legal -->"
    skill = replace(LONG, body=f"{LONG.body}\n\n{own}")
    lost = compressed(ScriptedOptimizer(compress=document("# Short")), skill)
    kept = compressed(ScriptedOptimizer(compress=document(f"# Short\n\n{own}")), skill)
    assert lost.value == skill and "protected regions" in lost.errors[0]
    assert kept.value != skill and own in kept.value.body


def test_a_document_that_the_regions_cannot_be_added_to_is_refused_with_the_reason() -> None:
    skill = replace(LONG, body=with_region(LONG.body, GUIDANCE, "G."))
    model = ScriptedOptimizer(compress=document("# Short\n\n```\nopen"))
    result = compressed(model, skill)
    assert result.value == skill and "guidance: " in result.errors[0]
    assert "could not be used: guidance: " in model.prompts["compress"][1]


def test_suggestions_are_worked_in_by_one_rewrite() -> None:
    model = ScriptedOptimizer(apply=document("# House rules\n\n- Rewritten.", "Use it always."))
    edits = (Edit("append", "", "- a rule", "why"),)
    result = rewrite(edits, a_briefing(model))
    assert result.value.body.endswith("- Rewritten.")
    assert result.value.description == "Use it always."
    assert "- a rule" in model.prompts["apply"][0]
    assert rewrite((), a_briefing(ScriptedOptimizer())).value == SKILL
    failed = rewrite(edits, a_briefing(ScriptedOptimizer()))
    assert failed.value == SKILL and "malformed" in failed.errors[0]


def test_minibatches_rewrite_what_the_one_before_left() -> None:
    def more(prompt: str) -> dict[str, Any]:
        body = re.findall(r"# House rules\n\n(?:- .*\n?)+", prompt)[0].strip()
        return document(f"{body}\n- line {body.count('- line') + 1}")

    rollouts = [a_rollout(a_task(f"t{n}"), reward=float(n == 0)) for n in range(4)]
    model = ScriptedOptimizer(reflect=more)
    result = learn(rollouts, a_briefing(model), start=SKILL, minibatch=2)
    assert result.value.body.endswith("- line 1\n- line 2\n- line 3")
    assert "runs failed" in model.prompts["reflect"][0]
    assert "solved their tasks" in model.prompts["reflect"][2]


def test_a_draft_is_made_from_instructions_alone() -> None:
    model = ScriptedOptimizer(draft=document("# Work\n\n- Look first.", "For all chores."))
    empty = Skill("mine", "To be described.", "")
    tasks = [a_task(f"t{n}", f"do thing {n}") for n in range(20)]
    made = draft(tasks, a_briefing(model, skill=empty)).value
    assert (made.name, made.description) == ("mine", "For all chores.")
    assert model.prompts["draft"][0].count("do thing") == 8
    with pytest.raises(OptimizerReplyError, match="draft: malformed"):
        draft(tasks, a_briefing(ScriptedOptimizer(), skill=empty))


def test_a_draft_looks_at_every_family() -> None:
    tasks = [a_task(f"{f}-{n}", f"{f} thing {n}", f) for f in "abc" for n in range(20)]
    chosen = sample(tasks, "1")
    assert sorted(task.family for task in chosen) == [*"aaabbbcc"]
    assert sample(tasks, "1") == chosen != sample(tasks, "2")
    many = [a_task(f"t{n}", "x", f"f{n % 30}") for n in range(90)]
    assert {task.family for task in sample(many, "1")} == {f"f{n}" for n in range(30)}


@pytest.mark.parametrize(
    ("families", "each", "shown"),
    [
        (1, 20, 8),
        (1, 3, 3),
        (7, 2, 8),
        (8, 2, 8),
        (9, 1, 9),
        (9, 3, 9),
        (39, 2, 39),
        (40, 1, 40),
        (41, 1, 40),
        (60, 2, 40),
    ],
)
def test_a_draft_is_made_from_eight_tasks_or_one_of_each_family_up_to_40(
    families: int, each: int, shown: int
) -> None:
    tasks = [a_task(f"t{n}", "x", f"f{n % families}") for n in range(families * each)]
    found = sample(tasks, "1")
    assert len(found) == shown == len({task.name for task in found})
    assert len({task.family for task in found}) == min(families, shown)


def pair(before: float, after: float, name: str = "t") -> Pair:
    task = a_task(name, f"task {name}")
    return Pair(a_rollout(task, before, f"{name} before"), a_rollout(task, after, f"{name} after"))


PAIRS = [pair(1, 0, "worse"), pair(0, 1, "better"), pair(0, 0.5, "failing"), pair(1, 1, "stable")]


def test_pairs_are_told_by_what_changed() -> None:
    assert [p.change for p in PAIRS] == ["regressed", "improved", "still failing", "stable"]


def test_the_slow_update_writes_the_guidance_in_its_region() -> None:
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": "Mind the whole."})
    made = slow_update(PAIRS, a_briefing(model, skill=GUIDED)).value
    assert region(made.body, GUIDANCE) == "Mind the whole."
    assert with_region(made.body, GUIDANCE, "") == SKILL.body
    (prompt,) = model.prompts["slow"]
    assert prompt.index("# Got worse") < prompt.index("# Still failing") < prompt.index("# Got bet")
    assert "worse before" in prompt and "worse after" in prompt and "task stable" not in prompt
    assert "1 more tasks were solved under both" in prompt
    assert "# Guidance so far\n\n```\nBroader advice." in prompt


@pytest.mark.parametrize(
    ("guidance", "reason"),
    [
        ("word " * 1000, "far more than 400"),
        ("<!-- protected:x -->", "marker"),
        ("a\x1bb", "control characters"),
    ],
)
def test_guidance_that_cannot_be_used_changes_nothing(guidance: str, reason: str) -> None:
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": guidance})
    result = slow_update(PAIRS, a_briefing(model, skill=GUIDED))
    assert result.value == GUIDED and reason in result.errors[0]


def test_notes_are_kept_if_an_epoch_yields_none() -> None:
    def notes(reply: str) -> str:
        model = ScriptedOptimizer(meta={"reasoning": "r", "notes": reply})
        briefing = a_briefing(model, notes="old notes")
        result = meta_skill(PAIRS, ["step 1: reject: why"], briefing)
        assert "```\nstep 1: reject: why\n```" in model.prompts["meta"][0]
        assert "old notes" in model.prompts["meta"][0]
        return result.value

    assert notes("new notes") == "new notes"
    assert notes("  ") == "old notes"
    failed = meta_skill(PAIRS, [], a_briefing(ScriptedOptimizer(), notes="old notes"))
    assert failed.value == "old notes" and failed.errors


def test_notes_are_shown_to_every_stage_and_are_no_part_of_the_skill() -> None:
    model = ScriptedOptimizer(
        slow={"reasoning": "r", "guidance": "G."}, compress=document("# Short")
    )
    memory = (RejectedEdit(1, (Edit("append", "", "- bad"),), 0.5, 0.4, ()),)
    briefing = a_briefing(model, notes="one at a time", memory=memory, max_tokens=200)
    made = slow_update(PAIRS, briefing).value
    compress(replace(briefing, skill=LONG))
    for prompts in model.prompts.values():
        assert all("one at a time" in prompt and "- bad" in prompt for prompt in prompts)
    assert "one at a time" not in made.text


def ran(folder: Path, reward: float, feedback: str, script: str) -> Rollout:
    folder.mkdir()
    keep_trajectory(folder, [("ls", "a.csv"), (script, "wrote b.csv")])
    return a_rollout(a_task("t", "Fix it."), reward, feedback, folder=folder)


SCRIPT = "\n".join(f"line_{n} = work({n})" for n in range(200))


def test_only_what_differs_is_shown_of_a_pair(tmp_path: Path) -> None:
    before = ran(tmp_path / "a", 1, "", SCRIPT + "\nsum(map(signed, rows))")
    after = ran(tmp_path / "b", 0, "a total is wrong", SCRIPT + "\nsum(map(float, rows))")
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": "G."})
    slow_update([Pair(before, after)], a_briefing(model))
    (prompt,) = model.prompts["slow"]
    assert "-sum(map(signed, rows))\n+sum(map(float, rows))" in prompt
    assert "line_3 =" not in prompt and prompt.count("Fix it.") == 1


def test_when_files_were_written_makes_no_difference(tmp_path: Path) -> None:
    listed = "total 16\n-rw-r--r-- 1 root root  847 Nov 27 05:{} a.csv\n12 passed in {}s\nat 10:{}"
    before = ran(tmp_path / "a", 1, "", listed.format("35", "0.12", "07"))
    after = ran(tmp_path / "b", 0, "a total is wrong", listed.format("36", "1.07", "08"))
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": "G."})
    slow_update([Pair(before, after)], a_briefing(model))
    (prompt,) = model.prompts["slow"]
    assert "-at 10:07\n+at 10:08" in prompt
    assert not re.search(r"^[-+](-rw|12 passed)", prompt, re.MULTILINE)


def test_runs_that_have_little_in_common_are_shown_by_their_own_steps(tmp_path: Path) -> None:
    before = ran(tmp_path / "a", 1, "", SCRIPT)
    after = ran(tmp_path / "b", 0, "a total is wrong", SCRIPT.replace("work", "play"))
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": "G."})
    slow_update([Pair(before, after)], a_briefing(model, trajectory_tokens=1000))
    (prompt,) = model.prompts["slow"]
    assert "Steps of the first run" in prompt and "= play(" in prompt and "= work(" in prompt


def test_pairs_that_fail_alike_are_one_and_what_is_not_shown_is_named() -> None:
    def failing(name: str, feedback: str) -> Pair:
        task = a_task(name, f"task {name}")
        return Pair(a_rollout(task, 0, feedback), a_rollout(task, 0, feedback))

    alike = [failing(f"x{n}", f"{n} rows of 'a{n}.csv' are missing") for n in range(5)]
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    others = [failing(f"y-{word}", f"the {word} is wrong") for word in words]
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": "G."})
    slow_update([*others, *alike], a_briefing(model))
    (prompt,) = model.prompts["slow"]
    assert "5 tasks have this feedback; one of them is shown." in prompt
    assert "15 of the compared tasks. Shown are 8 kinds; not shown:" in prompt
    assert "```\nthe eight is wrong\nthe nine is wrong\nthe ten is wrong\n```" in prompt
    assert prompt.index("rows of") < prompt.index("the one is wrong")
    assert prompt.count("## Pair") == 8 and "y-nine" not in prompt


def test_stable_pairs_are_not_shown_to_the_meta_skill() -> None:
    model = ScriptedOptimizer(meta={"reasoning": "r", "notes": "n"})
    meta_skill([pair(1, 1)], ["step 1: accepted"], a_briefing(model))
    meta_skill([], ["step 1: accepted"], a_briefing(model))
    for prompt in model.prompts["meta"]:
        assert "Got worse" not in prompt and "step 1: accepted" in prompt


def test_the_latest_decisions_are_shown() -> None:
    model = ScriptedOptimizer(meta={"reasoning": "r", "notes": "n"})
    meta_skill([], [f"step {n}: " + "word " * 200 for n in range(1, 61)], a_briefing(model))
    (prompt,) = model.prompts["meta"]
    assert "step 60: " in prompt and "step 1: " not in prompt
    assert "older decisions are not shown)" in prompt


class Refuses:
    """A leak guard that refuses one change, and is asked about each."""

    def __init__(self, word: str) -> None:
        self.word, self.asked = word, 0

    def refusal(self, before: Skill, after: Skill) -> str:
        self.asked += 1
        new = self.word in after.body and self.word not in before.body
        return f"it has {self.word!r}" if new else ""

    def redact(self, task: object, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("guidance", "max_tokens", "reason"),
    [
        ("Mind the whole.", 10_000, ""),
        ("Mind quicksilver.", 10_000, "it has 'quicksilver'"),
        # A skill that becomes longer than it may be, and is not so already.
        ("Mind the whole. " * 20, 60, "about "),
    ],
)
def test_guidance_passes_the_guard_of_all_edits(
    guidance: str, max_tokens: int, reason: str
) -> None:
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": guidance})
    guard: Any = Refuses("quicksilver")
    result = slow_update(PAIRS, a_briefing(model, guard=guard, max_tokens=max_tokens))
    if reason:
        assert result.value == SKILL and reason in result.errors[0]
    else:
        assert region(result.value.body, GUIDANCE) == guidance and not result.errors
    assert guard.asked == 1  # Of one that is too long as well: both may be mended at once.


@pytest.mark.parametrize(
    ("before", "after", "max_tokens", "refused"),
    [
        ("short", "short too", 10_000, False),
        ("short", "longer " * 100, 60, True),
        # One that is too long already may be changed, and not made longer.
        ("longer " * 100, "longer " * 99, 60, False),
        ("longer " * 100, "longer " * 100, 60, False),
        ("longer " * 100, "longer " * 102, 60, True),
    ],
)
def test_a_change_may_not_make_a_skill_longer_than_allowed(
    before: str, after: str, max_tokens: int, refused: bool
) -> None:
    briefing = a_briefing(ScriptedOptimizer(), max_tokens=max_tokens)
    old, new = replace(SKILL, body=before), replace(SKILL, body=after)
    assert bool(briefing.refusal(old, new)) is refused


@pytest.mark.parametrize(("tokens", "refused"), [(800, False), (801, True)])
def test_guidance_may_be_twice_as_long_as_was_asked_for(tokens: int, refused: bool) -> None:
    text = "abc " * 4000
    guidance = next(
        cut for n in range(len(text)) if estimate_tokens(cut := text[:n] + "x") == tokens
    )
    model = ScriptedOptimizer(slow={"reasoning": "r", "guidance": guidance})
    result = slow_update(PAIRS, a_briefing(model))
    assert (result.value == SKILL) is refused and bool(result.errors) is refused
