"""The matrix of a transfer: which cells are scored against what, and how they are shown."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.base import Usage
from skillopt.config.loading import ConfigError
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill, SkillError
from skillopt.evaluation import transfer as transfers
from skillopt.evaluation.scoring import Row
from skillopt.evaluation.stats import Estimate, kept_share
from skillopt.evaluation.transfer import (
    AgentModel,
    Cell,
    Subject,
    cell_json,
    places_of,
    subjects_of,
    to_csv,
    to_svg,
    transfer,
)
from skillopt.run.events import EvaluationStarted, Event
from skillopt.run.journal import LOG
from skillopt.run.records import Noted
from tests.helpers.values import a_rollout, a_task

HERE, THERE = AgentModel("direct", "sim-1"), AgentModel("codex", "up:gpt")
SKILL = Skill("s", "d", "# A")
USAGE = Usage(1, 10, 4, 5, 0.25)


def row(skill: str, rewards: Mapping[str, Sequence[float]], first: Row | None = None) -> Row:
    rollouts = tuple(
        a_rollout(a_task(name), reward).model_copy(
            update={"key": f"{skill}{name}{number}", "identity": {"task": name}, "usage": USAGE}
        )
        for name, runs in rewards.items()
        for number, reward in enumerate(runs)
    )
    return Row(skill, "direct", "m", rollouts, first)


NAMES = [f"t{number}" for number in range(12)]
NOTHING = row("none", {name: [0.0] for name in NAMES})


ONE_SOLVED = row("none", {name: [float(name == "t11")] * 2 for name in NAMES})


def gains(solved: int, first: Row = NOTHING) -> Row:
    """The first so many tasks are solved; twice, if none or only a few are."""
    times = 1 if solved > 5 else 2
    return row("s", {name: [float(n < solved)] * times for n, name in enumerate(NAMES)}, first)


def cell(found: Row | None, place: AgentModel = HERE, **changes: Any) -> Cell:
    made = Cell("s", place, "test", found, "" if found else "it failed", False, None)
    return replace(made, **changes)


def test_a_cell_as_a_flat_mapping() -> None:
    found = cell_json(cell(gains(10), THERE, kept=Estimate(0.5, 0.25, 0.75), is_source=True))
    assert (found["skill"], found["harness"], found["model"]) == ("s", "codex", "up:gpt")
    assert (found["split"], found["trained_here"], found["tasks"]) == ("test", True, 12)
    assert found["none"] == 0.0 and found["solved"] == pytest.approx(10 / 12)
    assert found["gain"] == pytest.approx(10 / 12) and found["gain_low"] < found["gain"]
    assert found["gain_high"] > found["gain"] and found["solved_low"] > 0.0
    assert [found[f"gain_kept{end}"] for end in ("", "_low", "_high")] == [0.5, 0.25, 0.75]
    assert (found["metric"], found["verdict"], found["skill_activated"]) == ("hard", "confirmed", 1)
    assert found["p"] == pytest.approx(2 / 2**10) and found["visible_gain"] is not None
    assert (found["tokens"], found["cost_usd"], found["failed"]) == (180, 3.0, "")


def test_a_cell_that_could_not_be_run_has_nothing_but_its_place() -> None:
    found = cell_json(cell(None))
    known = {key: value for key, value in found.items() if value is not None}
    assert known == {
        "skill": "s", "harness": "direct", "model": "sim-1", "split": "test",
        "trained_here": False, "failed": "it failed",
    }  # fmt: skip
    alone = cell_json(cell(NOTHING))
    assert (alone["none"], alone["gain"], alone["verdict"], alone["solved"]) == (None,) * 3 + (0.0,)


def test_all_cells_are_a_table() -> None:
    text = to_csv([cell(gains(10)), cell(None, THERE)])
    first, second = csv.DictReader(text.splitlines())
    assert list(first) == [*cell_json(cell(None))] and "\r" not in text
    assert (first["tasks"], second["tasks"], second["failed"]) == ("12", "", "it failed")
    assert to_csv([]) == "\n"


def shapes(text: str, kind: str) -> list[Mapping[str, str]]:
    return [one.attrib for one in ElementTree.fromstring(text).iter() if one.tag.endswith(kind)]


def words(text: str) -> list[str | None]:
    return [one.text for one in ElementTree.fromstring(text).iter() if one.tag.endswith("text")]


def test_a_heat_map_has_a_line_for_each_skill_and_split_and_a_column_for_each_place() -> None:
    cells = [
        cell(gains(6), is_source=True),
        cell(gains(3), THERE, kept=Estimate(0.5)),
        cell(None, HERE, split="val"),
        cell(gains(0), THERE, split="val", subject="<b>"),
    ]
    svg = to_svg(cells)
    root = ElementTree.fromstring(svg).attrib
    assert (root["width"], root["height"]) == (str(220 + 2 * 190 + 20), str(60 + 3 * 56 + 40))
    whole, *boxes = shapes(svg, "rect")
    assert (whole["width"], whole["height"]) == (root["width"], root["height"])
    assert [(box["x"], box["y"]) for box in boxes] == [
        ("222", "62"), ("412", "62"), ("222", "118"), ("412", "174"),
    ]  # fmt: skip
    assert {(box["width"], box["height"]) for box in boxes} == {("186", "52")}
    assert [box.get("stroke-width") for box in boxes] == ["2", None, None, None]
    assert [box["fill"] for box in boxes] == [
        "rgb(174,208,234)", "rgb(215,231,245)", "#cccccc", "rgb(255,255,255)",
    ]  # fmt: skip
    assert words(svg) == [
        "direct:sim-1", "codex:gpt", "s, test", "s, val", "<b>, val",
        "50 % (+50)", "trained here", "25 % (+25)", "50 % of the gain kept", "failed", None,
        "0 % (+0)", None,
        "solved (gain in points over no skill); framed: where the skill was trained",
    ]  # fmt: skip
    places = [(one["x"], one["y"], one["text-anchor"]) for one in shapes(svg, "text")]
    assert places[:5] == [
        ("315", "46", "middle"), ("505", "46", "middle"),
        ("208", "93", "end"), ("208", "149", "end"), ("208", "205", "end"),
    ]  # fmt: skip
    assert places[5:7] == [("315", "88", "middle"), ("315", "105", "middle")]
    assert places[-1] == ("220", str(60 + 3 * 56 + 28), "start")
    sizes = [(one["font-size"], one["font-weight"]) for one in shapes(svg, "text")]
    assert sizes[0] == ("14", "400") and sizes[5:7] == [("14", "600"), ("11", "400")]


@pytest.mark.parametrize(
    ("before", "after", "colour"),
    [(0, 12, "rgb(94,160,214)"), (12, 0, "rgb(236,150,70)"), (6, 3, "rgb(250,229,209)")],
)
def test_gains_are_blue_and_losses_orange(before: int, after: int, colour: str) -> None:
    found = cell(gains(after, gains(before)))
    assert shapes(to_svg([found]), "rect")[1]["fill"] == colour
    assert "failed" in words(to_svg([cell(NOTHING)])), "a row that is compared with nothing"


class Matrix:
    """A transfer whose scores are this test's: by place, skill and split; or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
        self.scored: list[tuple[str, str, str]] = []
        self.fails: dict[tuple[str, str], Exception] = {}
        self.events: list[Event] = []
        self.asked: dict[str, Any] = {}
        self.replicates = set[int]()
        self.config = config
        monkeypatch.setattr(transfers, "prepare", self._prepare)
        monkeypatch.setattr(transfers, "score", self._score)
        monkeypatch.setattr(transfers, "with_target", lambda config, model: model)
        monkeypatch.setattr(transfers, "replace", lambda prepared, config: (prepared, config))

    def _prepare(self, config: Any, **asked: Any) -> Any:
        self.asked = asked
        return SimpleNamespace(splits={"test": NAMES, "val": NAMES[:2]})

    def _score(
        self, there: Any, pair: Any, split: str, harnesses: Any, listener: Any, replicates: int
    ) -> list[Row]:
        (harness,) = harnesses
        *_, name = pair
        self.scored.append((f"{harness}:{there[1]}", name, split))
        if error := self.fails.get((there[1], name)):
            raise error
        assert list(pair) == list(dict.fromkeys(["none", name]))
        self.replicates.add(replicates)
        return [ONE_SOLVED, gains({"sim-1": 10, "up:gpt": 5}[there[1]], ONE_SOLVED)][: len(pair)]

    def run(self, *subjects: Subject, splits: Sequence[Any] = ("test",)) -> list[Cell]:
        found = transfer(
            self.config, subjects, [THERE, HERE], splits, replicates=2,
            listeners=[self.events.append],
        )  # fmt: skip
        return list(found)


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch) -> Matrix:
    return Matrix(monkeypatch, SimpleNamespace())


ONE, OTHER = Subject("s", SKILL, HERE), Subject("o", SKILL, None)


def test_where_a_skill_was_trained_comes_first_and_others_keep_a_share(matrix: Matrix) -> None:
    found = matrix.run(ONE, OTHER)
    assert [(c.subject, c.place, c.is_source) for c in found] == [
        ("s", HERE, True), ("o", HERE, False), ("s", THERE, False), ("o", THERE, False),
    ]  # fmt: skip
    own, _, there, _ = found
    # One more is lost that was solved without a skill; there were twelve runs at least.
    changes = [1.0] * 10 + [0.0, -1.0], [1.0] * 5 + [0.0] * 6 + [-1.0]
    names = sorted(range(12), key=str)
    ordered = [[one[number] for number in names] for one in changes]
    assert there.kept == kept_share(*ordered, [1.0] * 12, 12) and own.kept is None
    assert there.kept != kept_share(*ordered, [1.0] * 12, 24) and matrix.replicates == {2}
    assert found[1].kept is found[3].kept is None, "nobody knows where that was trained"
    assert matrix.scored == [
        *(("direct:sim-1", name, "test") for name in ("none", "s", "o")),
        *(("codex:up:gpt", name, "test") for name in ("none", "s", "o")),
    ]
    assert matrix.asked["harnesses"] == ["codex"] and matrix.asked["needs"] == ("test",)
    started = [one.rollouts for one in matrix.events if isinstance(one, EvaluationStarted)]
    assert started == [24, 48, 48] * 2


def test_each_split_is_filled_once(matrix: Matrix) -> None:
    found = matrix.run(ONE, splits=["test", "val", "test"])
    assert [c.split for c in found] == ["test", "test", "val", "val"]
    assert len(matrix.scored) == 8


@pytest.mark.parametrize("error", [PausedError("no engine"), SkillError("not loaded")])
def test_a_skill_that_fails_somewhere_leaves_the_others(matrix: Matrix, error: Exception) -> None:
    matrix.fails["up:gpt", "s"] = error
    found = matrix.run(ONE, OTHER)
    assert [bool(c.row) for c in found] == [True, True, False, True]
    assert found[2].failed == str(error) and found[2].kept is None
    notes = [one.text for one in matrix.events if isinstance(one, Noted)]
    assert notes == [f"s in codex:gpt, test: failed: {error}"]


def test_without_a_score_of_no_skill_there_is_nothing_to_compare(matrix: Matrix) -> None:
    matrix.fails["sim-1", "none"] = PausedError("no engine")
    found = matrix.run(ONE, OTHER)
    assert [c.failed for c in found] == ["no engine", "no engine", "", ""]
    assert found[2].kept is None and len(matrix.scored) == 4
    matrix.fails = {("sim-1", "s"): ValueError("a mistake")}
    with pytest.raises(ValueError, match="a mistake"):
        matrix.run(ONE)


class Places:
    """A config that knows two agents."""

    harness = SimpleNamespace(name="codex")

    def place(self, text: str) -> tuple[str, str]:
        harness, _, model = text.partition(":")
        if harness not in ("codex", "direct"):
            raise ValueError(f"{harness!r} is not one of codex, direct")
        return harness, model or "usual"


def test_places_are_those_that_are_named_or_the_configs() -> None:
    config: Any = Places()
    assert places_of(config, ["direct:a", "codex"]) == [
        AgentModel("direct", "a"), AgentModel("codex", "usual"),
    ]  # fmt: skip
    assert places_of(config, []) == [AgentModel("codex", "usual")]
    with pytest.raises(ConfigError, match="'codx' is not one of codex, direct"):
        places_of(config, ["codx"])
    assert AgentModel("codex", "up:a").label == AgentModel("codex", "a").label == "codex:a"


def test_a_run_is_its_best_skill_with_the_place_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: Any = Places()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOG).touch()
    settings = {"harness": {"name": "direct"}, "target": {"upstream": "up", "name": "a"}}
    state = SimpleNamespace(created=SimpleNamespace(config=settings))
    monkeypatch.setattr(transfers, "read_state", lambda root: (state, None))
    monkeypatch.setattr(transfers, "read_skill_or_run", lambda text: SKILL)
    monkeypatch.setattr(transfers, "label", lambda text, arguments: Path(text).name)
    run, plain, odd = (str(tmp_path / name) for name in ("run", "plain", "none"))
    found = subjects_of(config, [run, plain, run, odd])
    assert found == [
        Subject("run", SKILL, AgentModel("direct", "up:a")), Subject("plain", SKILL, None),
        Subject(odd, SKILL, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no skill to transfer: name a skill or a run"),
        (["none"], "none: is measured in every place anyway"),
        (["a", "none"], "a, none: is measured in every place anyway"),
    ],
)
def test_no_skill_is_no_subject(arguments: list[str], said: str) -> None:
    config: Any = Places()
    with pytest.raises(SkillError) as caught:
        subjects_of(config, arguments)
    assert str(caught.value) == said


def test_an_iterator_of_cells_is_filled_as_it_is_read(matrix: Matrix) -> None:
    cells: Iterator[Cell] = transfer(matrix.config, [OTHER], [HERE], ["test"], replicates=2)
    assert matrix.scored == []
    assert next(cells).subject == "o" and len(matrix.scored) == 2
    assert len(list(transfer(matrix.config, [OTHER], [HERE], ["test"]))) == 1
    assert matrix.replicates == {1, 2}
    assert "100 % (+100)" in words(to_svg([cell(gains(12))]))
