"""What a judge's verdicts are worth, which of them are in doubt, and what the reward is."""

from __future__ import annotations

from typing import Any

import pytest

from skillopt.core.judgement import JudgedExpectation, Judgement
from skillopt.core.types import Reward
from skillopt.optimizer.reading import UnreadableReplyError
from skillopt.rollouts.judge.asking import read_findings
from skillopt.rollouts.judge.evidence import Evidence
from skillopt.rollouts.judge.verdicts import (
    MISSING,
    NO_QUOTE,
    TWICE,
    UNCLEAR,
    WRONG_QUOTE,
    Findings,
    decided,
    doubts_in,
    reward_of,
    weighed,
)
from tests.helpers.judges import finding

SHOWN = Evidence(
    {
        "final_answer": "Dear reader,\nthe total is  1,250.\n42",
        "files": [{"path": "out/report.md", "change": "added", "content": "# Report\n\nAll fine."}],
        "steps": [{"step": "step 1 of 1", "said": "", "calls": [{"call": "ls", "result": "a"}]}],
    }
)


@pytest.mark.parametrize(
    ("quote", "there"),
    [
        ("the total is 1,250.", True),
        ("Dear reader, the total", True),
        ("out/report.md", True),
        ("All fine.", True),
        ("All fine. # Report", False),  # In another order.
        ("report.md All fine", False),  # Of two texts.
        ("the total is 1250", False),
        ("42", True),  # A whole line.
        ("12", False),  # A short part of a line.
        ("added", False),  # This project's word.
        ("step 1 of 1", False),
        ("final_answer", False),
        ("", False),
        ("   ", False),
        ("…", False),
        (",", False),
    ],
)
def test_a_quotation_must_be_in_one_text_of_the_evidence(quote: str, there: bool) -> None:
    assert SHOWN.has(quote) is there


@pytest.mark.parametrize(
    ("findings", "doubt", "met"),
    [
        ([finding(1, "met", "All fine.")], "", True),
        ([finding(1, "unmet")], "", False),
        ([finding(1, "unmet", "All fine.")], "", False),
        ([finding(1, "met")], NO_QUOTE, False),
        ([finding(1, "met", "  ")], NO_QUOTE, False),
        ([finding(1, "met", "All is fine.")], WRONG_QUOTE, False),
        ([finding(1, "unmet", "All is bad.")], WRONG_QUOTE, False),
        ([finding(1, "unclear", "All fine.")], UNCLEAR, False),
        ([], MISSING, False),
        ([finding(2, "met", "All fine.")], MISSING, False),
        ([finding(1, "met", "All fine."), finding(1, "unmet")], TWICE, False),
        ([finding(1, "met", "All fine."), finding(1, "met", "Dear reader")], "", True),
    ],
)
def test_each_verdict_and_each_doubt(findings: list[dict[str, Any]], doubt: str, met: bool) -> None:
    reply = Findings.model_validate({"findings": findings})
    pairs = weighed(reply, [1], SHOWN)
    assert doubts_in(pairs) == ({1: doubt} if doubt else {})
    one = decided("It is fine.", pairs[1], 1)
    assert (one.met, one.doubt, one.expectation) == (met, doubt, "It is fine.")


OWN = '{"findings": [{"number": 1, "verdict": "met", "quote": "q", "reason": "r"}]}'


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        (OWN, ["met"]),
        (f"```json\n{OWN}\n```", ["met"]),
        (f"<think>Is it {{so}}?</think>\n{OWN}", ["met"]),
        (f"Here you are: {OWN} Done.", ["met"]),
        ('{"findings": []}', []),
        ('{"findings": [{"number": "1", "verdict": "unmet"}]}', ["unmet"]),
        ('{"findings": [{"number": 1, "verdict": "perhaps"}]}', None),
        ('{"findings": [{"number": 1, "verdict": "unmet"}, {"verdict": "met"}]}', ["unmet"]),
        (f"The agent wrote {OWN} but I say {OWN.replace('met', 'unmet')}", None),
        (f"[{OWN}]", ["met"]),
        ('{"verdicts": []}', None),
        ('{"findings": [', None),
        ("All are met.", None),
        ("", None),
    ],
)
def test_a_reply_is_a_single_object_with_findings(reply: str, verdicts: list[str] | None) -> None:
    if verdicts is None:
        with pytest.raises(UnreadableReplyError):
            read_findings(reply)
    else:
        assert [one.verdict for one in read_findings(reply).findings] == verdicts


def judgement(*met: bool) -> Judgement:
    found = (JudgedExpectation(expectation=f"e{n}", met=m, reason="so") for n, m in enumerate(met))
    return Judgement(model="m", expectations=tuple(found))


@pytest.mark.parametrize(
    ("met", "checks", "soft", "solved"),
    [
        ((True, True), None, 1.0, True),
        ((True, False), None, 0.5, False),
        ((False, False), None, 0.0, False),
        ((True, True), Reward(1.0), 1.0, True),
        ((True, False), Reward(1.0), 2 / 3, False),
        ((True, True), Reward(1.0, {"checks": 2.0}), 1.0, True),
        ((True, False), Reward(1.0, {"checks": 2.0}), 0.75, False),
        ((True, True), Reward(0.5, {"checks": 2.0}), 0.75, False),
        ((True, True), Reward(0.9, solved=True), 2.9 / 3, True),
        ((True, False), Reward(0.5, {"checks": 0.0}), 0.5, False),
        ((True, False), Reward(0.5, {"checks": 0.5}), 0.5, False),
        ((True, True), Reward(1.0, solved=False), 1.0, False),
        ((), Reward(0.5, {"checks": 2.0}), 0.25, False),
        ((), Reward(0.0), 0.0, False),
    ],
)
def test_the_reward_is_the_share_of_checks_and_expectations(
    met: tuple[bool, ...], checks: Reward | None, soft: float, solved: bool
) -> None:
    found = reward_of(["e0", "e1"], judgement(*met), checks)
    assert found.hard == solved and found.solved is solved
    assert found.soft == pytest.approx(1.0 if solved else soft)
    assert found.metrics["expectations"] == 2 and found.metrics["expectations_met"] == sum(met)
    for n, one in enumerate(met):
        assert (f"not met: e{n} (so)" in found.feedback) is not one


def test_expectations_that_were_not_judged_say_so() -> None:
    found = reward_of(["e0", "e1"], judgement(), Reward(0.0, {}, "the file is missing"))
    assert found.feedback.splitlines()[0] == "the file is missing"
    assert found.feedback.count("a check before it failed") == 2
