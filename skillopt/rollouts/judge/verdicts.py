"""What a judge's reply is worth: its shape, what puts a verdict in doubt, and the reward.

The rule: a verdict that is in doubt is asked for once more; what is in doubt then is not met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from skillopt.core.judgement import JudgedExpectation, Judgement
from skillopt.core.types import Reward
from skillopt.rollouts.judge.evidence import Evidence

MISSING = "it has no verdict"
TWICE = "it has two verdicts that differ"
UNCLEAR = "the verdict is 'unclear'"
NO_QUOTE = "the verdict is 'met' without a quotation from the evidence"
WRONG_QUOTE = "the quotation is not in the evidence"
NOT_ASKED = "not judged, as a check before it failed"


class Finding(BaseModel):
    """The verdict on one statement."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    needed: ClassVar[tuple[str, ...]] = ("number", "verdict")
    """The fields without which it says nothing."""

    number: int
    reason: str
    quote: str
    verdict: Literal["met", "unmet", "unclear"]


class Findings(BaseModel):
    """The verdicts on all statements."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    findings: list[Finding]


Pair = tuple[Finding | None, str]
"""A finding, and why it is in doubt; empty if it is not."""


def weighed(reply: Findings, numbers: Sequence[int], shown: Evidence) -> dict[int, Pair]:
    """The finding on each statement with the doubt about it.

    Args:
        reply: the judge's.
        numbers: of the statements that it was asked for; others are passed over.
        shown: what it was shown.
    """
    found: dict[int, list[Finding]] = {number: [] for number in numbers}
    for finding in reply.findings:
        found.get(finding.number, []).append(finding)
    return {number: _weighed(findings, shown) for number, findings in found.items()}


def _weighed(findings: Sequence[Finding], shown: Evidence) -> Pair:
    if not findings:
        return None, MISSING
    last = findings[-1]
    if len({finding.verdict for finding in findings}) > 1:
        return last, TWICE
    if last.verdict == "unclear":
        return last, UNCLEAR
    if last.quote.strip():
        return last, "" if shown.has(last.quote) else WRONG_QUOTE
    return last, NO_QUOTE if last.verdict == "met" else ""


def decided(expectation: str, pair: Pair, asked: int) -> JudgedExpectation:
    """The verdict on an expectation, whatever doubt is left.

    Args:
        expectation: in its words.
        pair: from :func:`weighed`.
        asked: how often the judge was asked for it.
    """
    finding, doubt = pair
    return JudgedExpectation(
        expectation=expectation,
        met=finding is not None and finding.verdict == "met" and not doubt,
        quote=finding.quote if finding else "",
        reason=finding.reason if finding else "",
        doubt=doubt,
        asked=asked,
    )


def reward_of(
    expectations: Sequence[str], judgement: Judgement, checks: Reward | None = None
) -> Reward:
    """The reward of a task by its checks and its expectations: the share of them that are met, and
    solved if all are.

    Args:
        expectations: of the task.
        judgement: of them; without verdicts if a check before failed, and then none is met.
        checks: what the deterministic checks gave; None if there are none. As many count as they
            say in their metric ``checks``, else one.
    """
    total, met = len(expectations), judgement.met
    before = 0.0
    metrics = dict(checks.metrics) if checks else {}
    if checks is not None:
        before = max(metrics.get("checks", 1.0), 1.0)
    soft = (before * (checks.soft if checks else 0.0) + met) / (before + total)
    solved = met == total and (checks is None or checks.hard == 1.0)
    metrics |= {"expectations": float(total), "expectations_met": float(met)}
    said = [checks.feedback] if checks and checks.feedback else []
    said += _lines(expectations, judgement)
    return Reward(1.0 if solved else min(soft, 1.0), metrics, "\n".join(said), solved)


def _lines(expectations: Sequence[str], judgement: Judgement) -> list[str]:
    """What the feedback says of each expectation that is not met."""
    if not judgement.expectations:
        return [f"{NOT_ASKED}: {text}" for text in expectations]
    return [
        f"not met: {one.expectation}" + (f" ({why})" if (why := one.doubt or one.reason) else "")
        for one in judgement.expectations
        if not one.met
    ]


def doubts_in(pairs: Mapping[int, Pair]) -> dict[int, str]:
    """The statements whose verdicts are in doubt, with the reason."""
    return {number: doubt for number, (_, doubt) in pairs.items() if doubt}
