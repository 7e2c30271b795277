"""The two sides' optimizer prompts read, and replies written in the form that each expects.

The reference is known by the headings that its code puts around what it shows, ours by the schema
name of the reply. Of both only what :mod:`benchmarks.reference.optimizer` needs is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from benchmarks.reference import optimizer
from benchmarks.reference.optimizer import Asked, Edit, Stage
from benchmarks.reference.rules import questions_in

_REFERENCE: tuple[tuple[str, Stage], ...] = (
    ("## Failed Trajectories (", "failures"),
    ("## Successful Trajectories (", "successes"),
    ("## Patches to merge (", "merge"),
    ("## Two pre-merged patch groups", "merge"),
    ("## Edits Pool (", "rank"),
    ("## Previous Slow Update Guidance", "guidance"),
    ("## Previous Optimizer Meta Skill", "notes"),
)
_OURS: dict[str, Stage] = {
    "FailureReflection": "failures",
    "SuccessReflection": "successes",
    "Merge": "merge",
    "Ranking": "rank",
    "ChosenRanking": "rank",
    "Repair": "repair",
    "Guidance": "guidance",
    "Notes": "notes",
}
_SECTIONS: dict[Stage, str] = {
    "failures": "# Trajectories that failed",
    "successes": "# Trajectories that succeeded",
    "merge": "# Edits to merge",
    "rank": "# Edits to rank",
    "repair": "# Edits that could not be applied",
    "guidance": "# Guidance so far",
    "notes": "# Decisions in this epoch",
}


class UnknownPromptError(ValueError):
    """A question that the scripted optimizer was not written for."""


def reply(prompt: str, schema: Mapping[str, Any] | None, seed: int) -> str:
    """The scripted optimizer's reply to either side, as JSON.

    Args:
        prompt: all that the user said.
        schema: ``response_format.json_schema`` of the request; None from the reference.
        seed: decides, together with what is shown, which bad rules are proposed.

    Raises:
        UnknownPromptError: neither side's prompt.
    """
    if schema is None:
        return json.dumps(_to_reference(_from_reference(prompt), seed))
    name = str(schema.get("name"))
    if name not in _OURS:
        raise UnknownPromptError(f"no scripted reply named {name!r}")
    fields = json.dumps(schema.get("schema"))
    return json.dumps(_to_us(_from_us(prompt, _OURS[name]), name, '"file"' in fields, seed))


def _from_reference(prompt: str) -> Asked:
    found = [(heading, stage) for heading, stage in _REFERENCE if heading in prompt]
    if not found:
        raise UnknownPromptError(f"no scripted reply to: {prompt[:200]!r}")
    heading, stage = found[0]
    before, _, after = prompt.partition(heading)
    start = "## Current Epoch" if stage in ("guidance", "notes") else "## Current Skill\n"
    skill = before.partition(start)[2]
    memory = skill.partition("## Previous Steps in This Epoch\n")[2]
    skill = skill.partition("## Edits Budget")[0]
    budget = re.search(r"at most L=(\d+)", before) or re.search(r"budget=(\d+)", after)
    edits: list[Edit] = []
    if stage == "merge":
        patches = json.loads(after[after.index("\n[") :])
        edits = [_reference_edit(e) for patch in patches for e in patch["edits"]]
    elif stage == "rank":
        rows = re.findall(r"^\[\d+\] (.*)$", after, re.MULTILINE)
        edits = [_pool_edit(row) for row in rows]
    questions = questions_in(after) if stage != "notes" else {}
    return Asked(stage, skill, memory, questions, tuple(edits), int(budget[1]) if budget else 4)


def _pool_edit(row: str) -> Edit:
    """An edit as the reference describes it on one line to be ranked."""
    content = re.search(r"content=(['\"])(.*?)\1", row)
    return Edit("", content[2] if content else "", support=_number(r"support=(\d+)", row))


def _reference_edit(edit: Mapping[str, Any]) -> Edit:
    return Edit(
        edit["op"],
        edit.get("content", ""),
        edit.get("target", ""),
        edit.get("support_count", 1),
        edit.get("source_type", "failure"),
    )


def _to_reference(asked: Asked, seed: int) -> dict[str, Any]:
    match asked.stage:
        case "failures" | "successes":
            edits = optimizer.proposals(asked, seed)
            written = [{"op": e.op, "content": e.content, "target": e.target} for e in edits]
            patch = {"reasoning": "From the runs.", "edits": written}
            own: dict[str, Any] = {"success_patterns": []}
            if asked.stage == "failures":
                kinds = [kind.name for kind in asked.questions.values()]
                own = {
                    "failure_summary": [
                        {
                            "failure_type": "answer_format",
                            "count": kinds.count(name),
                            "description": f"form of {name} answers",
                        }
                        for name in sorted(set(kinds))
                    ]
                }
            return {"batch_size": len(asked.questions), **own, "patch": patch}
        case "merge":
            merged = [
                {
                    "op": edit.op,
                    "target": edit.target,
                    "content": edit.content,
                    "support_count": edit.support,
                    "source_type": edit.source,
                }
                for edit, _ in optimizer.merged(asked.edits)
            ]
            return {"reasoning": "Same rules are one edit.", "edits": merged}
        case "rank":
            return {"reasoning": "By support.", "selected_indices": optimizer.ranked(asked.edits)}
        case "guidance":
            text = optimizer.guidance(asked)
            return {"reasoning": "From the pairs.", "slow_update_content": text}
        case _:
            return {"reasoning": "From the pairs.", "meta_skill_content": optimizer.NOTES}


def _from_us(prompt: str, stage: Stage) -> Asked:
    context, _, after = prompt.partition(_SECTIONS[stage])
    if stage in ("guidance", "notes"):
        after = prompt
    skill = _block(context.partition("# The skill\n")[2])
    memory = _block(context.partition("# Rejected before\n")[2].partition("\n# ")[0])
    edits = [_our_edit(part) for part in re.split(r"^## Edit \d+$", after, flags=re.MULTILINE)[1:]]
    budget = _number(r"at most (\d+) edits", after, 4)
    return Asked(stage, skill, memory, questions_in(after), tuple(edits), budget)


def _our_edit(part: str) -> Edit:
    def block(label: str) -> str:
        return _block(part.partition(f"- {label}:\n\n")[2])

    op = re.search(r"^- kind: (\w+)$", part, re.MULTILINE)
    support = _number(r"proposed by: (\d+)", part)
    return Edit(op[1] if op else "append", block("content"), block("target"), support)


def _to_us(asked: Asked, name: str, with_file: bool, seed: int) -> dict[str, Any]:
    def written(edit: Edit) -> dict[str, str]:
        fields = {"kind": edit.op, "target": edit.target, "content": edit.content}
        return fields | {"reason": "From the runs."} | ({"file": ""} if with_file else {})

    match asked.stage:
        case "failures" | "successes":
            edits = [written(edit) for edit in optimizer.proposals(asked, seed)]
            kinds = [kind.name for kind in asked.questions.values()]
            types = [{"name": k, "count": kinds.count(k)} for k in sorted(set(kinds))]
            own = {"patterns": []} if asked.stage == "successes" else {"failure_types": types}
            return {**own, "reasoning": "From the runs.", "edits": edits}
        case "merge":
            merged = [
                {"edit": written(edit), "sources": [n + 1 for n in numbers]}
                for edit, numbers in optimizer.merged(asked.edits)
            ]
            return {"reasoning": "Same rules are one edit.", "edits": merged}
        case "rank":
            order = [n + 1 for n in optimizer.ranked(asked.edits)]
            count = {"count": asked.budget} if name == "ChosenRanking" else {}
            return {"reasoning": "By support.", "order": order, **count}
        case "repair":
            return {"reasoning": "Given up.", "edits": []}
        case "guidance":
            return {"reasoning": "From the pairs.", "guidance": optimizer.guidance(asked)}
        case _:
            return {"reasoning": "From the pairs.", "notes": optimizer.NOTES}


def _block(text: str) -> str:
    """The first fenced block of a text."""
    found = re.search(r"^(`{3,})\n(.*?)\n\1$", text, re.DOTALL | re.MULTILINE)
    return found[2] if found else ""


def _number(pattern: str, text: str, default: int = 1) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else default
