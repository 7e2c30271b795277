"""Merging patches into one: failures level by level, successes likewise, then both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skillopt.core.types import Edit, Patch
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.memory import counted
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.replies import Merge


@dataclass(frozen=True)
class _Group:
    """Patches to merge into one. The first ``failures`` of them win conflicts."""

    about: str
    patches: tuple[Patch, ...]
    failures: int = 0


def merge(patches: Sequence[Patch], briefing: Briefing, *, batch: int = 8) -> StageResult[Patch]:
    """Merge patches into one without overlap.

    The support of a merged edit is the sum over the edits that it replaces, and it would have
    helped the runs of all of them. Identical edits are merged without a call. If a call fails, the
    edits of its group are kept unmerged. Findings of the same name are counted together.

    Args:
        patches: a reflection's.
        briefing: the step's; the calls of one level run in parallel.
        batch: patches in one call, at least 2.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    calls: list[OptimizerCall] = []

    def merge_groups(groups: Sequence[_Group]) -> list[Patch]:
        answers = list(briefing.parallel(lambda group: _merge_group(group, briefing), groups))
        calls.extend(call for _, call in answers if call)
        return [patch for patch, _ in answers]

    tops: list[Patch] = []
    for kind in ("failure", "success"):
        level = [patch for patch in patches if patch.source == kind and patch.edits]
        while len(level) > 1:
            cut = [tuple(level[i : i + batch]) for i in range(0, len(level), batch)]
            about = f"{kind} patches, group {{}} of {len(cut)}"
            groups = [_Group(about.format(n), part) for n, part in enumerate(cut, start=1)]
            level = merge_groups(groups)
        tops += level
    if len(tops) == 2:
        tops = merge_groups([_Group("failures with successes", tuple(tops), failures=1)])
    findings = counted(
        one for patch in patches if patch.source == "failure" for one in patch.findings
    )
    made = tops[0] if tops else Patch(())
    return StageResult(replace(made, findings=findings), tuple(calls))


def _merge_group(group: _Group, briefing: Briefing) -> tuple[Patch, OptimizerCall | None]:
    edits = _united(group.patches)
    reasoning = "\n\n".join(patch.reasoning for patch in group.patches if patch.reasoning)
    if len(group.patches) == 1 or len(edits) == 1:
        return Patch(edits, reasoning), None
    first = len(_united(group.patches[: group.failures]))
    values = {"edits": edits, "failures_first": first, "failed": briefing.failed}
    try:
        reply = briefing.ask("merge", group.about, "merge", Merge, values)
    except OptimizerReplyError as error:
        return Patch(edits, reasoning), OptimizerCall(
            "merge", group.about, f"{error}; edits kept unmerged"
        )
    merged, problem = _checked(reply, edits)
    return Patch(merged, reply.reasoning), OptimizerCall("merge", group.about, problem)


def _united(patches: Sequence[Patch]) -> tuple[Edit, ...]:
    """All edits in order; identical ones of several patches as one, with their joint support."""
    united: dict[tuple[str, ...], Edit] = {}
    for patch in patches:
        own: dict[tuple[str, ...], Edit] = {}
        for e in patch.edits:
            own.setdefault((e.kind, e.file, e.target, " ".join(e.content.split())), e)
        for key, edit in own.items():
            known = united.get(key)
            united[key] = _joined([known, edit]) if known else edit
    return tuple(united.values())


def _joined(edits: Sequence[Edit]) -> Edit:
    """The first of some edits, with the support of all of them."""
    runs = dict.fromkeys(run for edit in edits for run in edit.runs)
    return replace(edits[0], support=sum(edit.support for edit in edits), runs=tuple(runs))


def _checked(reply: Merge, edits: Sequence[Edit]) -> tuple[tuple[Edit, ...], str]:
    """The merged edits with their support, without those that have no source in the input."""
    merged: list[Edit] = []
    invented = 0
    for item in reply.edits:
        numbers = dict.fromkeys(number for number in item.sources if 1 <= number <= len(edits))
        invented += not numbers
        if numbers:
            edit = _joined([edits[number - 1] for number in numbers])
            merged.append(replace(edit, content=item.content) if item.content.strip() else edit)
    return tuple(merged), f"{invented} edits without a source left out" if invented else ""
