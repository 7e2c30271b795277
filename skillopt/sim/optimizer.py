"""The simulated optimizer: reads the real prompts and answers with real edits, good and bad.

A test instrument, not a language model. It knows the rules of :mod:`skillopt.sim.knowledge` and
sees what any optimizer sees: the skill, the verifiers' feedback and what was rejected.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping

from pydantic import BaseModel

from skillopt.optimizer import replies
from skillopt.optimizer.replies import EditReply, ReflectedEdit
from skillopt.sim import describing, writing
from skillopt.sim.knowledge import BAD_RULES, HABITS, USELESS_RULES, habit_for
from skillopt.sim.shown import Shown, read_prompt

RULES_PER_REFLECTION = 2
_USELESS, _LOST_TARGET, _REPETITION = 0.25, 0.15, 0.1
"""Shares of reflections with these kinds of bad edit."""


def reply(
    system: str,
    prompt: str,
    schema_name: str,
    rng: random.Random,
    malformed: float = 0.0,
    harm: float = 0.35,
) -> str:
    """The reply to an optimizer prompt, as JSON.

    Args:
        system: ignored.
        prompt: the text of all user messages.
        schema_name: name of the requested reply, a class of :mod:`skillopt.optimizer.replies`.
        rng: decides, together with what the prompt shows, what is proposed.
        malformed: share of replies that are not what was asked for, in [0, 1].
        harm: share of reflections that also propose a harmful rule, in [0, 1].
    """
    shown = Shown(tuple(read_prompt(prompt)))
    # Not the whole prompt: trajectories contain durations, which differ from run to run.
    seen = [schema_name, shown.skill, shown.memory, *shown.blocks("Verifier feedback:")]
    seen += [str(edit) for edit in shown.edits()]
    again = "That reply cannot be used" in prompt
    rng = random.Random(f"{rng.random()}/{seen}/{again}")
    answer: BaseModel
    match schema_name:
        case "FailureReflection":
            answer = _on_failures(shown, rng, harm)
        case "SuccessReflection":
            edits = _bad_edits(shown, rng, harm)
            answer = replies.SuccessReflection(patterns=[], reasoning="All went well.", edits=edits)
        case "Merge":
            answer = _merged(shown)
        case "Ranking":
            answer = _ranked(shown, rng)
        case "ChosenRanking":
            answer = _chosen(shown, rng)
        case "Repair":
            answer = _repaired(shown)
        case "Rewrite":
            answer = writing.rewritten(shown, shown.edits() or _fields(_lessons(shown, rng, harm)))
        case "Description":
            answer = describing.described(shown)
        case "Compression":
            answer = writing.compressed(shown)
        case "Draft":
            answer = writing.drafted(shown, rng)
        case "Guidance":
            answer = writing.guided(shown, rng, harm)
        case "Notes":
            answer = writing.noted(shown)
        case _:
            raise ValueError(f"the simulated optimizer knows no reply named {schema_name!r}")
    text = answer.model_dump_json()
    return rng.choice(_DAMAGES)(text) if rng.random() < malformed else text


_DAMAGES: tuple[Callable[[str], str], ...] = (
    lambda text: text[: len(text) // 2],
    lambda text: re.sub(r'"(\w+)":', r'"my_\1":', text),
    lambda text: json.dumps({key: {} for key in json.loads(text)}),
    lambda _: "I would rather not answer in JSON.",
    lambda _: "",
)


def _on_failures(shown: Shown, rng: random.Random, harm: float) -> replies.FailureReflection:
    runs = shown.runs()
    complaints = Counter(
        habit.family for _, text in runs for habit in HABITS if habit.complaint.search(text)
    )
    rules = {habit.family: habit.rule for habit in HABITS}
    missing = [
        habit.family
        for habit in HABITS
        if complaints[habit.family] and not habit.rule_present(shown.skill)
    ]
    missing.sort(key=lambda family: -complaints[family])
    wanted = [rules[f] for f in missing if rng.random() < _appetite(shown.memory, rules[f])]
    edits = [_addition(shown, rule, rng) for rule in wanted[:RULES_PER_REFLECTION]]
    edits = [*_description(shown), *_removals(shown), *edits, *_bad_edits(shown, rng, harm)]
    edits += _reminders(shown, complaints) if shown.says(r"propose a `note`") else []
    rng.shuffle(edits)
    return replies.FailureReflection(
        failure_types=[
            replies.FoundType(name=family, count=count) for family, count in complaints.items()
        ],
        reasoning=f"{len(runs)} runs, complaints of {len(complaints)} kinds.",
        edits=[_for_runs(edit, runs) for edit in edits[: _limit(shown)]],
    )


def _for_runs(edit: ReflectedEdit, runs: list[tuple[str, str]]) -> ReflectedEdit:
    """An edit with the numbers of the runs whose verifier complained for want of its rule."""
    helped = [
        number
        for number, (_, feedback) in enumerate(runs, start=1)
        if any(h.rule in edit.content and h.complaint.search(feedback) for h in HABITS)
    ]
    return edit.model_copy(update={"runs": helped})


def _limit(shown: Shown) -> int | None:
    """The most edits that the prompt allows; None if it sets no limit."""
    found = shown.says(r"at most (\d+) edits")
    return int(found[1]) if found else None


def _appetite(memory: str, rule: str) -> float:
    """The probability of proposing a rule that the runs call for, given what was rejected.

    A rule that was rejected together with others is probably good; one rejected alone is not.
    """
    entries = re.split(r"(?=\bStep \d+: (?:rejected|undecided))", memory)
    tried = [entry for entry in entries if rule in entry and ": undecided" not in entry]
    if not tried:
        return 1.0
    alone = any(len(re.findall(r"append|insert_after|replace|delete", e)) == 1 for e in tried)
    return 0.3 if alone else 0.95


def _addition(shown: Shown, rule: str, rng: random.Random) -> ReflectedEdit:
    """A rule as a bullet: at the end, after the last bullet, or after a missing line."""
    reason = "The verifier's complaints call for it."
    dice = rng.random()
    if dice < _LOST_TARGET:
        return _edit("insert_after", "## Conventions of the house", f"- {rule}", reason)
    bullets = [line for line in shown.body.split("\n") if line.startswith("- ")]
    if dice < 0.5 and bullets and shown.body.count(bullets[-1]) == 1:
        return _edit("insert_after", bullets[-1], f"- {rule}", reason)
    return _edit("append", "", f"- {rule}", reason)


def _bad_edits(shown: Shown, rng: random.Random, harm: float) -> list[ReflectedEdit]:
    """Harmful, useless and repeated rules, which the runs do not call for."""
    edits = []
    harmful = [b.rule for b in BAD_RULES if not b.rule_present(shown.skill)]
    harmful = [rule for rule in harmful if rule not in shown.memory + shown.notes]
    if rng.random() < harm and harmful:
        edits.append(_edit("append", "", f"- {rng.choice(harmful)}", "Results look tidier so."))
    seen = shown.skill + shown.memory + shown.notes
    useless = [rule for rule in USELESS_RULES if rule not in seen]
    if rng.random() < _USELESS and useless:
        edits.append(_edit("append", "", f"- {rng.choice(useless)}", "Care never hurts."))
    bullets = [line for line in shown.body.split("\n") if line.startswith("- ")]
    if rng.random() < _REPETITION and bullets:
        edits.append(_edit("append", "", rng.choice(bullets), "It cannot be said too often."))
    return edits


def _reminders(shown: Shown, complaints: Mapping[str, int]) -> list[ReflectedEdit]:
    """Notes for rules that the skill has and that a run did not follow."""
    slipped = [
        habit
        for habit in HABITS
        if complaints.get(habit.family) and habit.rule_present(shown.skill)
    ]
    return [
        _edit("note", "", f"Remember: {habit.rule}", "It was there and not followed.")
        for habit in slipped
        if f"Remember: {habit.rule}" not in shown.skill
    ]


def _removals(shown: Shown) -> list[ReflectedEdit]:
    """Deletions of harmful rules if tasks fail that they break, and no missing rule explains it."""
    runs = [(habit_for(task), feedback) for task, feedback in shown.runs()]
    puzzling = {
        habit.family
        for habit, feedback in runs
        if habit and (habit.rule_present(shown.skill) or not habit.complaint.search(feedback))
    }
    edits = []
    for bad in BAD_RULES:
        lines = [line for line in shown.body.split("\n") if bad.rule_present(line)]
        if bad.breaks & puzzling and lines and shown.body.count(lines[0]) == 1:
            edits.append(_edit("delete", lines[0], "", "Runs that follow it fail."))
    return edits


def _description(shown: Shown) -> list[ReflectedEdit]:
    """A new description if most runs did not open the skill: their kinds of work are added."""
    opened = Counter(e.label for e in shown.entries if e.label.startswith("- skill opened:"))
    if opened["- skill opened: no"] <= opened["- skill opened: yes"]:
        return []
    habits = [habit_for(task) for task, _ in shown.runs()]
    words = sorted({word for habit in habits if habit for word in habit.topics})
    old = re.search(r"^description: (.*)$", shown.skill, re.MULTILINE)
    missing = [word for word in words if not old or word not in old[1].lower()]
    if not missing:
        return []
    text = f"{old[1].strip() if old else ''} Use it for work on: {', '.join(missing)}.".strip()
    return [_edit("set_description", "", text.strip("'\""), "The skill was not opened.")]


def _merged(shown: Shown) -> replies.Merge:
    groups: dict[str, list[int]] = {}
    edits = shown.edits()
    for number, edit in enumerate(edits, start=1):
        groups.setdefault(edit.get("content") or edit.get("target", ""), []).append(number)
    merged = []
    for numbers in groups.values():
        # Of several edits that say the same, one without a target is the safest.
        numbers.sort(key=lambda n: edits[n - 1]["kind"] != "append")
        merged.append(replies.MergedEdit(sources=numbers, content=""))
    return replies.Merge(reasoning="Same rules are one edit.", edits=merged)


def _ranked(shown: Shown, rng: random.Random) -> replies.Ranking:
    support = [int((re.match(r"\d+", e["proposed by"]) or [1])[0]) for e in shown.edits()]
    order = sorted(range(1, len(support) + 1), key=lambda n: (-support[n - 1], rng.random()))
    return replies.Ranking(reasoning="By support.", order=order)


def _chosen(shown: Shown, rng: random.Random) -> replies.ChosenRanking:
    """As many edits as were proposed by more than one reflection, at least one, at most three."""
    ranking = _ranked(shown, rng)
    wide = sum(not edit["proposed by"].startswith("1 ") for edit in shown.edits())
    return replies.ChosenRanking(
        reasoning="Those with wide support.", order=ranking.order, count=min(max(wide, 1), 3)
    )


def _lessons(shown: Shown, rng: random.Random, harm: float) -> list[ReflectedEdit]:
    """The edits that a rewrite from trajectories includes."""
    failed = shown.says(r"why these runs failed") is not None
    return _on_failures(shown, rng, harm).edits if failed else _bad_edits(shown, rng, harm)


def _fields(edits: list[ReflectedEdit]) -> list[dict[str, str]]:
    return [edit.model_dump() for edit in edits]


def _repaired(shown: Shown) -> replies.Repair:
    """If a target could not be found, the text goes to the end; other edits are dropped."""
    edits: list[EditReply] = [
        _edit("append", "", edit["content"], "Without a target.")
        for edit in shown.edits()
        if edit.get("kind") == "insert_after" and edit.get("content")
    ]
    return replies.Repair(reasoning="Appended.", edits=edits)


def _edit(kind: str, target: str, content: str, reason: str) -> ReflectedEdit:
    fields = {"kind": kind, "target": target, "content": content, "reason": reason}
    return ReflectedEdit.model_validate({**fields, "file": "", "runs": []})
