"""Questions: tasks without a workspace, judged by the answer alone; and the set ``words``."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.agents.direct import Direct
from harnesses.base import Budget, ModelSpec, Status
from harnesses.protocols.base import Conversation, Reply
from sandboxes.base import Limits
from sandboxes.local import local_sandbox
from sandboxes.local_backend import LocalBackend
from skillopt.core.types import Task
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.rollout import Job, run_job
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import TaskError, read_splits, read_task
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.questions import judged
from skillopt.tasks.validate import validate
from skillopt.tasks.words.generator import KINDS, deal, generate
from tests.helpers.lab import place
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.tasks import question


def test_a_folder_without_environment_and_with_an_answer_is_a_question(tmp_path: Path) -> None:
    assert read_task(question(tmp_path / "q")).question
    assert validate(tmp_path / "q") == []
    (tmp_path / "q" / "environment").mkdir()
    with pytest.raises(TaskError, match="Dockerfile: missing"):
        read_task(tmp_path / "q")


@pytest.mark.parametrize(
    ("answer", "reward"),
    [("food", 1), (" food\n", 1), ("Food", 0), ("food.", 0), ("", 0), ("food food", 0)],
)
def test_the_answer_counts_word_for_word(answer: str, reward: float, tmp_path: Path) -> None:
    given = judged(read_task(question(tmp_path / "q")), answer)
    assert given.soft == reward
    assert reward or f"expected 'food', the answer was {answer.strip()!r}" in given.feedback


def test_the_beginning_of_a_long_answer_is_shown(tmp_path: Path) -> None:
    given = judged(read_task(question(tmp_path / "q")), "x" * 199 + "yz")
    assert given.feedback == f"expected 'food', the answer was {'x' * 199 + 'y'!r}"


def run(task: Task, model: ScriptedAgentModel, folder: Path) -> tuple[Status, float]:
    named = RolloutIdentity(None, task.digest, {}, ModelSpec("up", "m"), {}, 0)
    job = Job(task, None, Direct(), ModelSpec("up", "m"), named, Limits(), Budget())
    folder.mkdir()
    with place(model) as site:
        result = run_job(
            job, site, Environments(LocalBackend()), VerifierSite(local_sandbox), folder
        )
    return result.status, result.reward.soft


def test_a_rollout_gives_no_tools_and_judges_what_was_said(tmp_path: Path) -> None:
    seen: list[Conversation] = []

    def say(text: str) -> ScriptedAgentModel:
        def reply(shown: Conversation) -> Reply:
            seen.append(shown)
            return Reply(text)

        return ScriptedAgentModel([reply])

    task = read_task(question(tmp_path / "q"))
    assert run(task, say(" food"), tmp_path / "r1") == (Status.COMPLETED, 1.0)
    assert run(task, say("animal"), tmp_path / "r2") == (Status.COMPLETED, 0.0)
    assert seen[0].tools == () and seen[0].messages[-1].text == "Input: bread\nOutput:"
    assert "tools" not in seen[0].messages[0].text


def test_the_words_are_dealt_by_seed_and_none_is_in_two_splits(tmp_path: Path) -> None:
    dealt = deal(7)
    assert {split: len(words) for split, words in dealt.items()} == {
        "train": 24, "val": 40, "test": 56
    }  # fmt: skip
    words = [word for split in dealt.values() for word, _ in split]
    assert len(set(words)) == 120 == sum(len(set(text.split())) for text in KINDS.values())
    assert deal(7) == dealt != deal(8)
    generate(tmp_path / "words", 7)
    splits = read_splits(tmp_path / "words")
    assert splits is not None and all(task.question for task in splits["test"])
    assert [task.family for task in splits["train"]] == [kind for _, kind in dealt["train"]]
