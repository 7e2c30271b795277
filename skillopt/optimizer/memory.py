"""What is known of earlier steps, as text for prompts: edits that were kept or rejected, edits that
were proposed and not tried, and the failures and habits that were found.

Edits are judged together, so what is remembered of a rejection is the joint verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, EditVerdict, Finding, GateDecision, RejectedEdit, Tried
from skillopt.optimizer.edits import ALREADY_THERE
from skillopt.optimizer.render import clip

MEMORY_TOKENS = 2000
"""Token budget of the rejected edits in a prompt."""
TRIED_TOKENS = 800
"""That of the accepted edits, and of the proposals that were not tried."""
FINDINGS = 8
"""The most types of failure that are shown of one step."""
FADES = 10
"""Steps after which a rejection is not shown any more; an epoch's, if it has more."""
_EDIT_TOKENS = 150
_KEPT_TOKENS = 60


def rejection(
    step: int, edits: Sequence[Edit], decision: GateDecision | None
) -> RejectedEdit | None:
    """What to remember of a gate decision; None if nothing was rejected.

    Args:
        step: the run's step, from 1.
        edits: the edits that were judged.
        decision: the decision on them; if the evaluation stopped early, its upper bound is the
            score.
    """
    if decision is None or decision.accepted or not edits:
        return None
    return RejectedEdit(
        step,
        tuple(edits),
        decision.score_before,
        decision.upper_bound,
        decision.broken,
        decision.evaluated,
        decision.total,
        decision.undecided,
    )


def remembered(
    memory: Sequence[RejectedEdit], step: int, steps_in_epoch: int
) -> tuple[RejectedEdit, ...]:
    """The rejections that a step is still shown: the skill has changed since older ones.

    Args:
        memory: all rejections, oldest first.
        step: the step, from 1.
        steps_in_epoch: steps of an epoch.
    """
    oldest = step - max(FADES, steps_in_epoch)
    return tuple(entry for entry in memory if entry.step >= oldest)


def render_memory(memory: Sequence[RejectedEdit], tokens: int = MEMORY_TOKENS) -> str:
    """The memory as text for a prompt, newest first, as much as fits into ``tokens``.

    Tasks that broke are counted, not named: a name belongs to a single task, and the optimizer
    should not see it. Empty without entries.
    """
    return fitting([_entry(entry) for entry in reversed(memory)], tokens, "rejections")


def _entry(entry: RejectedEdit) -> str:
    if entry.removed:
        head = (
            f"Step {entry.step}: taken out of the skill again, {entry.score_after:.3f} with and "
            f"{entry.score_before:.3f} without on {entry.total} tasks:"
        )
        return "\n".join([head, *(f"  {describe(edit)}" for edit in entry.edits)])
    before, after = f"{entry.score_before:.3f}", f"{entry.score_after:.3f}"
    if not entry.total:
        scores = f"at best {after} against {before}"
    elif entry.evaluated < entry.total:
        stopped = f"stopped at {entry.evaluated} of {entry.total} tasks"
        scores = f"{stopped}, at best {after} against {before}"
    else:
        scores = f"{before} → {after} on {entry.total} tasks"
    broken = f", {len(entry.broken)} tasks got worse" if entry.broken else ""
    many = len(entry.edits) > 1
    judged = f"; these {len(entry.edits)} together, none of them alone:" if many else "; alone:"
    if entry.verdicts:
        judged = "; in one change, left out in turn afterwards:"
    verdict = "undecided, may return" if entry.undecided else "rejected"
    head = f"Step {entry.step}: {verdict}, {scores}{broken}{judged}"
    measured = [_verdict(one) for one in entry.verdicts]
    return "\n".join([head, *(f"  {describe(edit)}" for edit in entry.edits), *measured])


def _verdict(found: EditVerdict) -> str:
    """What was measured of an edit in its company."""
    named = "; ".join(describe(edit, _KEPT_TOKENS) for edit in found.edits)
    return (
        f"  on {found.tasks} tasks {found.score_with:.3f} with it and {found.score_without:.3f} "
        f"without, beside {found.company} others: {named}"
    )


def render_kept(tried: Sequence[Tried], tokens: int = TRIED_TOKENS) -> str:
    """What was accepted, with what it gained, newest first."""
    kept = [entry for entry in reversed(tried) if entry.action == "accept"]
    return fitting([render_tried(entry) for entry in kept], tokens, "changes")


def render_tried(entry: Tried) -> str:
    """One decision with its edits in a few lines."""
    scores = ""
    if entry.before is not None and entry.after is not None:
        scores = f"{entry.before:.3f} → {entry.after:.3f}, "
    result = {"accept": "accepted", "reject": "rejected"}.get(entry.action, entry.action)
    judged = "" if entry.action == "accept" else f": {entry.reason}"
    lines = [f"{entry.what}: {scores}{result}{judged}"]
    lines += [f"  {describe(edit, _KEPT_TOKENS)}" for edit in entry.edits]
    lines += [
        f"  not applied ({outcome.reason}): {describe(outcome.edit, _KEPT_TOKENS)}"
        for outcome in entry.refused
    ]
    return "\n".join(lines)


def render_untried(edits: Sequence[Edit], tokens: int = TRIED_TOKENS) -> str:
    """Proposals that have not been tried, those that would have helped the most runs first."""
    ranked = sorted(edits, key=lambda edit: -len(edit.runs))
    lines = [
        f"{describe(edit)}" + (f" (would have helped {_runs(len(edit.runs))})" if edit.runs else "")
        for edit in ranked
    ]
    return fitting(lines, tokens, "proposals")


def render_refused(tried: Sequence[Tried], tokens: int = TRIED_TOKENS // 2) -> str:
    """Edits that could not be applied, with the reasons, newest first."""
    lines = dict.fromkeys(
        f"{describe(outcome.edit, _KEPT_TOKENS)} — {outcome.reason}"
        for entry in reversed(tried)
        for outcome in entry.refused
        if outcome.reason != ALREADY_THERE
    )
    return fitting(list(lines), tokens, "refusals")


def render_findings(
    findings: Mapping[int, Sequence[Finding]], runs: Mapping[int, int] | None = None
) -> str:
    """What the reflections of earlier steps found, newest first.

    Args:
        findings: of failed runs, by step.
        runs: the number of failed runs by step, where it is known.
    """
    lines = []
    for step, found in sorted(findings.items(), reverse=True):
        of = f" of {_runs((runs or {})[step], 'failed run')}" if (runs or {}).get(step) else ""
        most = sorted(found, key=lambda one: -one.count)[:FINDINGS]
        told = "; ".join(f"{_line(one.name)} ({one.count})" for one in most)
        lines.append(f"step {step}{of}: {told}")
    return fitting(lines, TRIED_TOKENS // 2, "steps")


def counted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings of several reflections as one list, those of the same name counted together."""
    counts: dict[str, Finding] = {}
    for one in findings:
        key = " ".join(one.name.casefold().replace("_", " ").split())
        known = counts.get(key)
        counts[key] = Finding(known.name if known else one.name, one.count + _count(known))
    return tuple(sorted(counts.values(), key=lambda one: -one.count))


def _count(known: Finding | None) -> int:
    return known.count if known else 0


def describe(edit: Edit, tokens: int = _EDIT_TOKENS) -> str:
    """One edit in one line, with long texts cut."""
    target = f" at {_short(edit.target, tokens)}" if edit.target else ""
    where = f" in {edit.file}" if edit.file else ""
    head = f"{edit.kind}{where}{target}"
    return f"{head}: {_short(edit.content, tokens)}" if edit.content else head


def _short(text: str, tokens: int) -> str:
    return repr(clip(" ".join(text.split()), tokens))


def _line(text: str) -> str:
    return " ".join(clip(" ".join(text.split()), 30).split())


def _runs(count: int, what: str = "run") -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def fitting(texts: Sequence[str], tokens: int, what: str) -> str:
    """The first of some texts, as many as fit, and how many more there are."""
    shown: list[str] = []
    for text in texts:
        if estimate_tokens("\n".join([*shown, text])) > tokens:
            shown.append(f"({len(texts) - len(shown)} older {what} are not shown)")
            break
        shown.append(text)
    return "\n".join(shown)
