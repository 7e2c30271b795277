"""How far a judge agrees with people: what is compared, what is recorded, what is asked of it."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.base import ModelSpec, Usage
from skillopt.config.loading import ConfigError
from skillopt.core.errors import FileError
from skillopt.core.files import digest_of, to_json
from skillopt.core.judgement import JudgedExpectation, Judgement
from skillopt.core.types import Rollout
from skillopt.evaluation import agreement
from skillopt.evaluation.agreement import (
    Agreement,
    CheckedJudge,
    check_judge,
    record_of,
    told_of_judge,
)
from skillopt.evaluation.stats import rate
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.labels import LabelsError
from skillopt.rollouts.judge.verdicts import NOT_ASKED
from skillopt.rollouts.rejudge import Rejudged
from tests.helpers.values import a_result, a_task, an_identity

TEMPLATE: Any = SimpleNamespace(digest="p1")
JUDGE = JudgeSpec(ModelSpec("up", "wise"), TEMPLATE)


@pytest.mark.parametrize(
    "cells", [(20, 5, 10, 15), (3, 0, 0, 3), (1, 4, 4, 1), (0, 5, 5, 0), (9, 1, 0, 0), (2, 2, 0, 6)]
)
def test_the_interval_is_the_wider_one_at_each_end(cells: tuple[int, int, int, int]) -> None:
    """By the formulas of Cohen and of Fleiss, Cohen and Everitt, written out."""
    a, b, c, d = (count / sum(cells) for count in cells)
    agreed, chance = a + d, (a + b) * (a + c) + (c + d) * (b + d)
    kappa = (agreed - chance) / (1 - chance)
    found = Agreement(*cells)
    whole = (
        a * (1 - (a + b + a + c) * (1 - kappa)) ** 2
        + d * (1 - (c + d + b + d) * (1 - kappa)) ** 2
        + (1 - kappa) ** 2 * (b * (a + c + c + d) ** 2 + c * (b + d + a + b) ** 2)
        - (kappa - chance * (1 - kappa)) ** 2
    )
    error = max(whole, 0.0) ** 0.5 / sum(cells) ** 0.5 / (1 - chance)
    assert found.standard_error == pytest.approx(error, abs=1e-12)
    exact = rate(cells[0] + cells[3], sum(cells))
    assert exact.low is not None and exact.high is not None and found.kappa is not None
    low = min(kappa - 1.959964 * error, (exact.low - chance) / (1 - chance))
    high = max(kappa + 1.959964 * error, (exact.high - chance) / (1 - chance))
    assert found.kappa.value == pytest.approx(kappa)
    assert found.kappa.low == pytest.approx(max(low, -1.0), abs=1e-6)
    assert found.kappa.high == pytest.approx(min(high, 1.0), abs=1e-6)


def test_one_pair_has_the_whole_range() -> None:
    found = Agreement(0, 1, 0, 0).kappa
    assert found is not None and (found.value, found.low, found.high) == (0.0, 0.0, 1.0)


def judged(*met: bool, usage: Usage = Usage(1, 10, 0, 5, 0.5)) -> Judgement:
    said = tuple(
        JudgedExpectation(expectation=f"Point {number}  holds.", met=one)
        for number, one in enumerate(met, 1)
    )
    return Judgement(model="wise", expectations=said, usage=usage)


def stored(
    key: str, task: str = "t", *, judgement: Judgement | None = None, **identity: Any
) -> Rollout:
    named = an_identity(task=f"digest of {task}", **identity).to_json()
    return a_result(
        Path("/nowhere"), key=key, task=a_task(task), identity=named, judgement=judgement
    )


class Checking:
    """A check of a judge with a store of this test's own; ``asked`` are judged anew."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        self.after: dict[str, Rejudged] = {}
        self.store: list[Rollout] = []
        self.judge: JudgeSpec | None = JUDGE
        task = a_task("t").__class__(name="t", instruction="", digest="digest of t")
        runner = SimpleNamespace(prepared=self)
        self.splits = {"val": (task,), "test": ()}
        self.runner = lambda listener: nullcontext(runner)
        monkeypatch.setattr(agreement, "prepare", lambda config, plugins: self)
        monkeypatch.setattr(agreement, "open_store", lambda runs: None)
        monkeypatch.setattr(agreement, "stored", lambda store, chosen: self.store)
        monkeypatch.setattr(agreement, "rejudge", self._rejudge)

    def _rejudge(self, runner: Any, rollouts: Any, tasks: Any) -> list[Rejudged]:
        assert [*tasks] == ["t"]
        self.asked += [one.key for one in rollouts]
        return [self.after.get(one.key, Rejudged(one, one)) for one in rollouts]

    def check(self, *lines: dict[str, Any]) -> CheckedJudge:
        file = self.folder / "labels.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        config: Any = SimpleNamespace(runs=Path("runs"))
        return check_judge(config, file)


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checking:
    return Checking(monkeypatch, tmp_path)


def label(verdict: str, expectation: str = "1", **named: str) -> dict[str, Any]:
    return {"expectation": expectation, "verdict": verdict} | (named or {"task": "t"})


def test_verdicts_are_compared_with_labels_and_recorded(checking: Checking) -> None:
    one = stored("aaaaaaaa1", judgement=judged(True, False))
    checking.store = [one]
    found = checking.check(
        label("met"), label("met", "2"), label("unmet", " Point 1 holds. "), label("unmet", "2")
    )
    assert found.agreement == Agreement(both=1, first=1, second=1, neither=1)
    assert found.model == "wise" and found.not_judged == ()
    where = checking.folder / "labels.jsonl"
    assert found.differing == (
        f"{where}:2: t: Point 2  holds.: judge: unmet",
        f"{where}:3: t: Point 1  holds.: judge: met",
    )
    assert checking.asked == ["aaaaaaaa1"] and found.usage == Usage(1, 10, 0, 5, 0.5)
    assert found.cost == "judge: 15 tokens, $0.50"
    kept = json.loads(record_of(where).read_text())
    assert record_of(where).name == "labels.jsonl.agreement.json"
    assert kept["format"] == 1 and kept["judge"] == digest_of(JUDGE.to_json())
    assert (kept["labels"], kept["agreed"]) == (4, 2)
    assert (kept["only_people"], kept["only_judge"], kept["kappa"]["value"]) == (1, 1, 0.0)
    assert kept["differing"] == list(found.differing) and kept["not_judged"] == []


def test_what_this_judge_has_judged_is_not_asked_again_and_costs_nothing(
    checking: Checking,
) -> None:
    own = {"name": "codex", "version": "1", "judge": JUDGE.to_json()}
    checking.store = [stored("aaaaaaaa1", judgement=judged(True), agent=own)]
    found = checking.check(label("met"))
    assert checking.asked == [] and found.usage == Usage() and found.agreement.both == 1


@pytest.mark.parametrize(
    ("judgement", "changes"),
    [
        (None, {"agent": {"name": "codex", "judge": JUDGE.to_json()}}),
        (judged(True), {"agent": {"name": "codex", "judge": {"model": "other"}}}),
        (judged(True), {"agent": {"name": "codex"}}),
        (judged(True), {"agent": {"name": "codex", "judge": JUDGE.to_json()}, "task": "old"}),
    ],
)
def test_what_another_judge_or_another_task_had_is_judged_again(
    checking: Checking, judgement: Judgement | None, changes: dict[str, Any]
) -> None:
    named = an_identity(**{"task": "digest of t", **changes}).to_json()
    before = a_result(Path("/nowhere"), key="aaaaaaaa1", task=a_task("t"), identity=named,
                      judgement=judgement)  # fmt: skip
    checking.store = [before]
    checking.after = {"aaaaaaaa1": Rejudged(before, stored("bbbbbbbb1", judgement=judged(False)))}
    found = checking.check(label("unmet"), label("unmet"))
    assert checking.asked == ["aaaaaaaa1"], "once for all of its labels"
    assert found.agreement == Agreement(0, 0, 0, 2)


def test_labels_without_a_verdict_say_why(checking: Checking) -> None:
    gone = stored("aaaaaaaa1", "gone")
    failed = stored("bbbbbbbb1", "failed", judgement=judged())
    bare = stored("cccccccc1", "bare")
    checking.store = [gone, failed, bare]
    checking.after = {"aaaaaaaa1": Rejudged(gone, None, "its work was not kept")}
    found = checking.check(
        label("met", task="gone"), label("met", task="failed"), label("met", rollout="cccccccc")
    )
    where = checking.folder / "labels.jsonl"
    assert found.not_judged == (
        f"{where}:1: gone: its work was not kept",
        f"{where}:2: failed: {NOT_ASKED}",
        f"{where}:3: bare: {NOT_ASKED}",
    )
    assert found.agreement.total == 0
    assert found.words == "wise: no label could be compared"


@pytest.mark.parametrize("expectation", ["0", "3", "Point 3 holds.", "²"])
def test_an_expectation_that_the_task_does_not_have_is_refused(
    checking: Checking, expectation: str
) -> None:
    checking.store = [stored("aaaaaaaa1", judgement=judged(True, False))]
    with pytest.raises(LabelsError, match=r"is none of t: 1: Point 1 holds\.; 2: Point 2 holds\."):
        checking.check(label("met", expectation))


def test_a_label_is_of_one_work(checking: Checking) -> None:
    with pytest.raises(LabelsError, match=r"labels\.jsonl:1: t: no such rollout is stored"):
        checking.check(label("met"))
    checking.store = [
        stored("aaaaaaaa1", judgement=judged(True)), stored("aaaaaaaa2", judgement=judged(False)),
    ]  # fmt: skip
    assert checking.check(label("met")).agreement == Agreement(0, 1, 0, 0), "the newest of a work"
    checking.store.append(stored("bbbbbbbb1", judgement=judged(True), replicate=1))
    with pytest.raises(
        LabelsError, match="t: 2 rollouts are stored; name one by rollout"
    ) as caught:
        checking.check(label("met"))
    assert "aaaaaaaa2, bbbbbbbb1 …" in str(caught.value)
    others = [stored(f"{n}" * 16, judgement=judged(True), replicate=n) for n in (5, 4)]
    checking.store += others
    with pytest.raises(LabelsError, match=f"rollout: {'4' * 12}, {'5' * 12}, aaaaaaaa2 …$"):
        checking.check(label("met"))
    found = checking.check(label("met", rollout="bbbbbbbb"))
    assert found.agreement == Agreement(1, 0, 0, 0)
    with pytest.raises(LabelsError, match="cccccccc: no such rollout"):
        checking.check(label("met", rollout="cccccccc"))
    with pytest.raises(LabelsError, match="bbbbbbbb: no such rollout"):
        checking.check(label("met", rollout="bbbbbbbb", task="other"))


def test_a_config_without_a_judge_is_refused(checking: Checking) -> None:
    checking.judge = None
    with pytest.raises(ConfigError, match="judge: the config names none"):
        checking.check(label("met"))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ((20, 5, 10, 15), "wise agrees with 35 of 50 labels: kappa 0.40 (0.11 to 0.65)"),
        ((2, 0, 0, 0), "wise agrees with 2 of 2 labels; kappa cannot be computed, as all verdicts"),
        ((0, 0, 0, 0), "wise: no label could be compared"),
    ],
)
def test_a_checked_judge_in_one_line(cells: tuple[int, int, int, int], words: str) -> None:
    checked = CheckedJudge("wise", Agreement(*cells))
    assert checked.words.startswith(words)
    assert (checked.to_json()["kappa"] is None) == (checked.agreement.kappa is None)


def told(file: Path | None, least: float | None) -> str:
    config: Any = SimpleNamespace(judge=SimpleNamespace(labels=file, least_agreement=least))
    return told_of_judge(config, JUDGE)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.jsonl"
    file.write_text("labels")
    return file


def record(labels: Path, **changes: Any) -> None:
    known = {
        "format": 1, "judge": digest_of(JUDGE.to_json()), "agreed": 9, "labels": 10,
        "of": hashlib.sha256(labels.read_bytes()).hexdigest(),
        "kappa": {"value": 0.6, "low": 0.25, "high": 0.95},
    }  # fmt: skip
    record_of(labels).write_text(to_json(known | changes))


def test_a_judge_that_nobody_has_checked_is_said_to_be_unchecked(labels: Path) -> None:
    assert told(None, 0.6).startswith("judge: wise is unchecked: it was never compared with")
    assert told(labels, None) == "judge: wise: not compared with people, and nothing is asked of it"
    with pytest.raises(ConfigError, match="this judge has not been compared with these labels"):
        told(labels, 0.6)
    with pytest.raises(FileError, match="no such file"):
        told(labels.with_name("none"), 0.6)


@pytest.mark.parametrize(
    ("least", "kappa", "said"),
    [
        (0.6, 0.6, ""),
        (0.61, 0.6, "judge.least_agreement: 0.61: the kappa of wise with .* is 0.60: change"),
        (0.6, None, "the kappa of wise with .* cannot be computed: change judge.prompt"),
    ],
)
def test_a_judge_must_agree_as_much_as_is_asked_for(
    labels: Path, least: float, kappa: float | None, said: str
) -> None:
    record(labels, kappa=None if kappa is None else {"value": kappa, "low": 0.25, "high": 0.95})
    if said:
        with pytest.raises(ConfigError, match=said):
            told(labels, least)
    else:
        assert told(labels, least) == (
            "judge: wise agrees with 9 of 10 labels of people: kappa 0.60 (0.25 to 0.95)"
        )
    known = "kappa 0.60 with people" if kappa else "not compared with people"
    assert told(labels, None) == f"judge: wise: {known}, and nothing is asked of it"


@pytest.mark.parametrize("changes", [{"judge": "other"}, {"of": "other"}])
def test_a_record_of_another_judge_or_of_other_labels_does_not_count(
    labels: Path, changes: dict[str, str]
) -> None:
    record(labels, **changes)
    with pytest.raises(ConfigError, match="has not been compared with these labels"):
        told(labels, 0.1)
