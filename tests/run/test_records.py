"""What the records of a log say if a log of an earlier version does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harnesses.base import Status, Usage
from skillopt.core.skill import Layout, Skill
from skillopt.run.records import (
    FORMAT,
    RECORD,
    Noted,
    RacedCandidate,
    RaceDone,
    Record,
    Remarked,
    Replied,
    RolloutRan,
    RunCreated,
    RunDone,
    SkillMade,
    StageStarted,
    rows_of,
    skill_made,
)
from tests.helpers.values import a_rollout, a_task


def test_what_an_earlier_version_did_not_write_counts_as_nothing() -> None:
    created = RunCreated(name="r", config={}, fingerprint={}, splits={})
    assert (created.format, created.forked_from, FORMAT) == (0, None, 1)
    ran = RolloutRan(
        stage="s", key="k", task="t", status=Status.COMPLETED, usage=Usage(), seconds=1.0
    )
    assert (ran.message, ran.service_seconds) == ("", 0.0)
    stage = StageStarted(stage="s", total=1)
    assert (stage.epoch, stage.step, Noted(text="n").step) == (0, 0, 0)
    reply = Replied(id="i", stage="s", step=1, about="a", reply=None, usage=Usage())
    assert (reply.error, reply.refused, reply.inherited) == ("", False, False)
    done = RunDone(reason="", final_selection=0.0, test={})
    assert (done.test_rollouts, done.claim, done.no_claim) == ({}, None, "")
    remark = Remarked(id="i", about="k", since=1)
    assert not (remark.blind or remark.withdrawn or remark.inherited)
    assert (remark.verdict, remark.split, remark.text) == ("", "", "")
    only = RacedCandidate(skill="s", edits=[], tasks=[], gain=0.0, rollouts=[])
    race = RaceDone(step=1, epoch=1, winner=0, candidates=[only], row={})
    assert only.ended == "" and race.losers == []


def test_a_record_is_stamped_and_cannot_change() -> None:
    one = skill_made(Skill("s", "d", "# A"))
    assert one.at > 1_700_000_000 and isinstance(one, Record)
    assert RECORD.validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError, match="frozen"):
        one.name = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        SkillMade(**one.model_dump(), more=1)
    with pytest.raises(ValidationError, match="kind"):
        RECORD.validate_json('{"kind": "unknown"}')


def test_a_skill_comes_back_with_all_of_its_folder() -> None:
    text = "---\nname: s\ndescription: d\nk: [1]\n---\n# A\n"
    layout = Layout(text, "skill.md", "Folder", {"x": 0o600}, {"l": "x"})
    skill = Skill("s", "d", "# A", {"k": [1]}, {"x": b"\xff\x00"}, layout)
    made = skill_made(skill)
    assert made.skill == skill and made.digest == skill.digest
    assert RECORD.validate_json(made.model_dump_json()) == made


def test_rows_are_in_the_order_of_their_rollouts() -> None:
    rollouts = [a_rollout(a_task(name)) for name in ("b", "a")]
    assert rows_of(rollouts) == [one.row for one in rollouts]
