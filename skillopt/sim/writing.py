"""The simulated optimizer's longer texts: whole documents, guidance and notes.

A test instrument like the rest of :mod:`skillopt.sim`. Edits are in :mod:`skillopt.sim.optimizer`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from skillopt.optimizer import replies
from skillopt.sim.knowledge import BAD_RULES, HABITS, USELESS_RULES, habit_for
from skillopt.sim.shown import Shown

GUIDED_RULES = 3
GUESSED = 0.2
"""Share of the rules that a draft guesses without having seen a run."""


def rewritten(shown: Shown, edits: Sequence[Mapping[str, str]]) -> replies.Rewrite:
    """The skill with edits worked in."""
    body, description = shown.body, _description(shown)
    for edit in edits:
        match edit["kind"]:
            case "set_description":
                description = edit["content"]
            case "delete":
                body = body.replace(edit["target"], "", 1)
            case "replace":
                body = body.replace(edit["target"], edit["content"], 1)
            case _ if edit["content"].strip("- ") not in body:
                body = f"{body.rstrip()}\n\n- {edit['content'].removeprefix('- ')}"
    body = re.sub(r"\n{2,}(?=- )", "\n", body)
    return replies.Rewrite(reasoning="Worked in.", description=description, body=_spaced(body))


def compressed(shown: Shown) -> replies.Compression:
    """The skill without what no run needs; rules are removed last."""
    found = shown.says(r"may have (\d+) at most")
    room = 4 * int(found[1]) * 8 // 10 if found else 4000
    lines = [line for line in shown.body.split("\n") if not _empty_words(line)]
    for index in range(len(lines) - 1, -1, -1):
        if sum(len(line) + 1 for line in lines) <= room:
            break
        if not _is_rule(lines[index]) and not lines[index].startswith("#"):
            del lines[index]
    description = _description(shown)
    body = "\n".join(lines)
    return replies.Compression(
        reasoning="Shorter.", description=description, body=_spaced(body), files=[]
    )


def drafted(shown: Shown, rng: random.Random) -> replies.Draft:
    """A first skill: its purpose, a plain procedure, and guessed rules."""
    parts = dict.fromkeys(e.part for e in shown.entries if e.part.startswith("Task "))
    asked = [e.block for e in shown.entries if e.part in parts and e.block]
    habits = {habit.family: habit for text in asked if (habit := habit_for(text))}
    words = sorted({word for habit in habits.values() for word in habit.topics})
    guessed = [f"- {h.rule}" for _, h in sorted(habits.items()) if rng.random() < GUESSED]
    lines = ["# How to work", "", "- Read the request and look at the files first.", *guessed]
    return replies.Draft(
        reasoning="From a look at the tasks.",
        description=f"Office chores on: {', '.join(words)}." if words else "Office chores.",
        body="\n".join(lines),
    )


def guided(shown: Shown, rng: random.Random, harm: float) -> replies.Guidance:
    """The guidance so far, with rules for tasks that got worse or still fail."""
    so_far = next(
        (e.block for e in shown.entries if e.section == "Guidance so far" and e.block), ""
    )
    lines = [line for line in so_far.split("\n") if line.strip()]
    complaints = Counter(
        habit.rule
        for _, feedback in shown.runs("Got worse", "Still failing")
        for habit in HABITS
        if habit.complaint.search(feedback) and not habit.rule_present(shown.skill)
    )
    lines += [f"- {rule}" for rule, _ in complaints.most_common(GUIDED_RULES)]
    harmful = [b.rule for b in BAD_RULES if not b.rule_present(shown.skill + so_far)]
    if complaints and harmful and rng.random() < harm:
        lines.append(f"- {rng.choice(harmful)}")
    return replies.Guidance(reasoning="What the epoch left open.", guidance="\n".join(lines))


def noted(shown: Shown) -> replies.Notes:
    """The rules that were rejected and are known to be bad or useless."""
    tried = shown.memory + " ".join(e.label for e in shown.entries)
    bad = [bad.rule for bad in BAD_RULES if bad.rule in tried]
    useless = [rule for rule in USELESS_RULES if rule in tried]
    lines = [f"- Tried in vain: {rule}" for rule in [*bad, *useless]]
    old = [line for line in shown.notes.split("\n") if line.strip() and line not in lines]
    return replies.Notes(reasoning="What was rejected.", notes="\n".join([*old, *lines]))


def _description(shown: Shown) -> str:
    found = re.search(r"^description: (.*)$", shown.skill, re.MULTILINE)
    return found[1].strip().strip("'\"") if found else ""


def _is_rule(line: str) -> bool:
    known = [*(h.rule_present(line) for h in HABITS), *(b.rule_present(line) for b in BAD_RULES)]
    return any(known)


def _empty_words(line: str) -> bool:
    return any(rule in line for rule in USELESS_RULES)


def _spaced(body: str) -> str:
    """The text with a blank line before each list and none in it."""
    lines: list[str] = []
    for line in body.split("\n"):
        follows = lines and lines[-1].strip() and not lines[-1].startswith("- ")
        if line.startswith("- ") and follows:
            lines.append("")
        lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
