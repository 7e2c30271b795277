"""One rollout from task to result, with parts of the test's own: no sandbox and no gateway."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import Budget, ModelSpec, Openings, Outcome, Request, Status, Usage
from sandboxes.access import Visit
from sandboxes.base import Limits, SandboxError
from skillopt.core.import_path import OwnCodeError
from skillopt.core.judgement import Judgement
from skillopt.core.types import Reward, Rollout, Task
from skillopt.rollouts import rollout as module
from skillopt.rollouts.judge.asking import JudgeError, JudgeSpec
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.rollout import Job, outcome_of, read_usage, run_job
from skillopt.rollouts.store import OUTCOME
from skillopt.tasks.environment import given
from skillopt.tasks.verifier import VerifierError
from tests.helpers.values import a_task, an_identity

TASK = replace(a_task(), folder=Path("/nowhere"), workspace=lambda folder: None)
DONE = Outcome(
    Status.COMPLETED, "", "said", None, Usage(requests=2), True, "7", 5.0, ("other",), 1.5
)


HALF = Reward(0.5, {}, "half")


@dataclass
class Scrubber:
    """Takes one word out of texts and files."""

    secret: str = ""

    def __bool__(self) -> bool:
        return bool(self.secret)

    def text(self, text: str) -> str:
        return text.replace(self.secret, "***") if self.secret else text

    def folder(self, folder: Path) -> None:
        for file in folder.rglob("*.txt"):
            file.write_text(self.text(file.read_text()))


@dataclass
class FakeEnvironments:
    """A first workspace with one file."""

    discarded: list[str] = field(default_factory=list)
    prepared: list[Path] = field(default_factory=list)
    cannot_discard: bool = False

    def settled(self, task: Task) -> Task:
        return task

    def image(self, task: Task) -> str:
        return "image-1"

    def prepare(self, task: Task, workspace: Path) -> str:
        self.prepared.append(workspace)
        workspace.mkdir(parents=True)
        (workspace / "first.txt").write_text("first")
        return "image-1"

    def discard(self, image: str) -> None:
        self.discarded.append(image)
        if self.cannot_discard:
            raise SandboxError("no engine")


@dataclass
class FakeAgent:
    """Does what a test says in its workspace."""

    act: Any = None
    outcome: Any = DONE
    requests: list[Request] = field(default_factory=list)
    name: str = "agent"

    def version(self) -> str:
        return "7"

    def run(self, request: Request, site: Any) -> Any:
        self.requests.append(request)
        if self.act is not None:
            self.act(request.workspace)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class Place:
    folder: Path
    agent: FakeAgent = field(default_factory=FakeAgent)
    environments: FakeEnvironments = field(default_factory=FakeEnvironments)
    scrubber: Scrubber = field(default_factory=Scrubber)
    visits: list[Visit] = field(default_factory=list)
    env: Mapping[str, str] = field(default_factory=dict)
    judged: list[dict[str, str]] = field(default_factory=list)
    verdict: Reward | Exception = HALF

    def verifier(self, task: Task, workspace: Path, answer: str) -> Reward:
        files = {str(p.relative_to(workspace)): p for p in workspace.rglob("*") if p.is_file()}
        self.judged.append({name: file.read_text() for name, file in files.items()})
        (workspace / "of the tests").write_text("x")
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def job(self, **values: Any) -> Job:
        base: dict[str, Any] = {
            "task": TASK,
            "skill": None,
            "harness": self.agent,
            "model": ModelSpec("up", "m"),
            "identity": an_identity(),
            "limits": Limits(memory_mb=128, cpus=2.0, disk_mb=5),
            "budget": Budget(3, 4),
            "verifier": self.verifier,
        }
        return Job(**base | values)

    def run(self, **values: Any) -> Rollout:
        site = SimpleNamespace(
            gateway=SimpleNamespace(scrubber=self.scrubber),
            env=self.env,
            visits=lambda: self.visits,
        )
        job = self.job(**values)
        return run_job(
            job, cast(Any, site), cast(Any, self.environments), cast(Any, None), self.folder
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "record").mkdir()
    return Place(tmp_path / "record")


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_rollout_is_of_its_job_and_of_what_the_agent_did(place: Place) -> None:
    place.agent.act = lambda workspace: (workspace / "new.txt").write_text("new")
    found = place.run()
    identity = an_identity()
    assert found == Rollout(
        key=identity.key,
        identity=identity.to_json(),
        given=given(TASK),
        task=TASK,
        status=Status.COMPLETED,
        reward=Reward(0.5, {}, "half"),
        skill_activated=True,
        answer="said",
        usage=Usage(requests=2),
        agent_version="7",
        duration_s=5.0,
        service_s=1.5,
        others_opened=("other",),
        folder=place.folder,
    )
    assert place.judged == [{"first.txt": "first", "new.txt": "new"}]
    assert files(place.folder) == {"workspace/new.txt", "work.json", "work.tar.gz"}
    assert outcome_of(found) == DONE and read_usage(place.folder) is None


def test_the_agent_is_asked_for_what_the_task_and_the_config_say(place: Place) -> None:
    task = replace(
        TASK,
        env=(("A", "task"), ("B", "task")),
        follow_ups=("more",),
        pictures=("p.png",),
        led=True,
        max_turns=9,
        root=True,
        folders={"/corpus": Path("/data")},
        memory_mb=64,
        cpus=4.0,
        disk_mb=7,
        agent_timeout_s=33.0,
        question=True,
    )
    place.env = {"A": "site", "C": "site"}
    openings = Openings(frozenset({"s"}), frozenset(), 3)
    place.run(
        task=task, skill=Path("/s"), mount="both", beside=(Path("/b"),), openings=openings,
    )  # fmt: skip
    (request,) = place.agent.requests
    assert request == Request(
        id=an_identity().key[:16],
        instruction="Do the chore.",
        image="image-1",
        workspace=place.folder / "scratch" / "workspace",
        workdir="/work",
        skill=Path("/s"),
        model=ModelSpec("up", "m"),
        timeout_s=33.0,
        limits=Limits(memory_mb=128, cpus=4.0, disk_mb=7),
        budget=Budget(3, 4),
        seed=an_identity().seed,
        env={"A": "task", "B": "task", "C": "site"},
        record=place.folder,
        mount="both",
        beside=(Path("/b"),),
        follow_ups=("more",),
        question=True,
        pictures=("p.png",),
        folders={"/corpus": Path("/data")},
        led=True,
        max_turns=9,
        root=True,
        openings=openings,
    )


def test_a_question_without_files_has_no_workspace_for_its_agent(place: Place) -> None:
    place.run(task=replace(TASK, question=True, workspace=None))
    assert place.agent.requests[0].workspace is None and not place.environments.prepared


@pytest.mark.parametrize(
    ("skill", "activated", "others", "status", "reward"),
    [
        (Path("/wanted"), True, (), Status.COMPLETED, 1.0),
        (Path("/wanted"), False, (), Status.COMPLETED, 0.0),
        (Path("/wanted"), None, ("wanted",), Status.COMPLETED, 1.0),
        (None, True, (), Status.COMPLETED, 0.0),
        (Path("/wanted"), True, ("bad",), Status.COMPLETED, 0.0),
        (Path("/wanted"), True, (), Status.AGENT_ERROR, 0.0),
    ],
)
def test_a_task_of_openings_is_judged_by_them(
    skill: Path | None,
    activated: bool | None,
    others: tuple[str, ...],
    status: Status,
    reward: float,
    place: Place,
) -> None:
    place.agent.outcome = replace(
        DONE, skill_activated=activated, others_opened=others, status=status
    )
    openings = Openings(frozenset({"wanted"}), frozenset({"bad"}), 3)
    found = place.run(skill=skill, openings=openings)
    assert (found.reward.soft, found.status) == (reward, status) and not place.judged


@pytest.mark.parametrize("status", [Status.AGENT_ERROR, Status.AGENT_TIMEOUT, Status.INFRA_ERROR])
def test_what_is_not_completed_is_not_judged_and_not_kept(status: Status, place: Place) -> None:
    place.agent.act = lambda workspace: os.mkfifo(workspace / "pipe")
    place.agent.outcome = replace(DONE, status=status, message="why")
    found = place.run()
    assert (found.status, found.message, found.reward.soft) == (status, "why", 0.0)
    assert not place.judged and not files(place.folder) & {OUTCOME, "work.json"}


def five(workspace: Path) -> None:
    for number in range(5):
        os.mkfifo(workspace / f"p{number}")


def six(workspace: Path) -> None:
    five(workspace)
    os.mkfifo(workspace / "p5")


def test_what_was_removed_from_a_workspace_is_told(place: Place) -> None:
    def act(workspace: Path) -> None:
        for number in range(7):
            os.mkfifo(workspace / f"pipe-{number}")

    place.agent.act = act
    place.scrubber.secret = "pipe-1"
    found = place.run()
    assert found.status is Status.COMPLETED
    assert found.message.startswith("removed from the workspace (pipes, ")
    assert found.message.endswith(": pipe-0, ***, pipe-2, pipe-3, pipe-4 and 2 more")
    place.folder = place.folder.parent / "second"
    place.folder.mkdir()
    place.agent.act = five
    assert place.run().message.endswith(": p0, p1, p2, p3, p4")
    place.folder = place.folder.parent / "third"
    place.folder.mkdir()
    place.agent.act = six
    assert place.run().message.endswith(": p0, p1, p2, p3, p4 and 1 more")


@pytest.mark.parametrize(
    ("error", "kind", "see"),
    [
        (VerifierError("no verdict"), "VerifierError: ", True),
        (ConnectionError("no service"), "VerifierError: ", True),
        (SandboxError("no engine"), "SandboxError: ", False),
    ],
)
def test_work_that_cannot_be_judged_waits_and_is_judged_without_the_agent(
    error: Exception, kind: str, see: bool, place: Place
) -> None:
    place.agent.act = lambda workspace: (workspace / "new.txt").write_text("new")
    place.verdict = error
    place.scrubber.secret = "no "

    def verifier(task: Task, workspace: Path, answer: str, folder: Path) -> Reward:
        (folder / "verifier").mkdir()
        return place.verifier(task, workspace, answer)

    failed = place.run(verifier=verifier)
    assert failed.status is Status.INFRA_ERROR and failed.message.startswith(kind)
    assert failed.message.endswith(f"; see {place.folder / 'verifier'}") is see
    assert "no " not in failed.message
    assert (failed.usage, failed.duration_s, failed.service_s) == (Usage(requests=2), 5.0, 1.5)
    assert (failed.key, failed.agent_version) == (an_identity().key, "7")
    assert read_usage(place.folder) == Usage(requests=2)
    place.verdict = Reward(1.0)
    found = place.run()
    assert (found.status, found.reward, found.answer) == (Status.COMPLETED, Reward(1.0), "said")
    assert found.others_opened == ("other",) and len(place.agent.requests) == 1
    # The tests of the first time have left nothing in it.
    assert place.judged[0] == place.judged[1] == {"first.txt": "first", "new.txt": "new"}
    assert not (place.folder / "verifier").exists() and read_usage(place.folder) is None


def test_kept_work_is_put_back_if_its_workspace_is_gone(place: Place) -> None:
    place.agent.act = lambda workspace: (workspace / "first.txt").unlink()
    place.verdict = VerifierError("no verdict")
    place.run()
    shutil.rmtree(place.folder / "scratch")
    place.verdict = Reward(1.0)
    assert place.run().reward == Reward(1.0)
    assert place.judged == [{}, {}] and len(place.agent.requests) == 1
    assert len(place.environments.prepared) == 2


def test_work_that_was_not_kept_is_done_again(place: Place) -> None:
    place.agent.act = lambda workspace: (workspace / "new.txt").write_text("new")
    place.verdict = VerifierError("no verdict")
    place.run()
    shutil.rmtree(place.folder / "scratch")
    (place.folder / "work.json").unlink()
    place.verdict = Reward(1.0)
    assert place.run().reward == Reward(1.0) and len(place.agent.requests) == 2


@pytest.mark.parametrize("most", [5, 4])
def test_a_workspace_that_is_too_large_is_judged_itself_and_once(
    most: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COPIED_BYTES", most)  # Its file has five.
    place.verdict = VerifierError("no verdict")
    place.run()
    assert (read_usage(place.folder) is not None) is (most == 5)
    there = place.folder / "scratch" / "workspace" / "of the tests"
    assert there.exists() is (most == 4)


def test_a_workspace_that_cannot_be_copied_is_judged_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copytree(source: Path, target: Path, **options: Any) -> None:
        target.mkdir()
        raise OSError("a name is too long")

    monkeypatch.setattr(shutil, "copytree", copytree)
    assert place.run().reward.soft == 0.5 and place.judged == [{"first.txt": "first"}]


def test_an_agent_that_returns_something_else_is_the_users_fault(place: Place) -> None:
    place.agent.outcome = "done"
    with pytest.raises(OwnCodeError, match="it returned 'done'; return an Outcome"):
        place.run()
    place.agent.outcome = SandboxError("no engine")
    shutil.rmtree(place.folder / "scratch")
    found = place.run(harness=place.agent)
    assert found.status is Status.INFRA_ERROR and found.message == "SandboxError: no engine"


def test_secrets_do_not_stay_in_a_workspace(place: Place) -> None:
    place.scrubber.secret = "sk-1"
    place.agent.act = lambda workspace: (workspace / "new.txt").write_text("key sk-1")
    place.run()
    assert (place.folder / "workspace" / "new.txt").read_text() == "key ***"
    assert place.judged[0]["new.txt"] == "key ***"


@pytest.mark.parametrize("secret", ["", "sk-1"])
def test_a_workspace_whose_secrets_may_be_left_is_removed(secret: str, place: Place) -> None:
    place.scrubber.secret = secret
    place.agent.outcome = SandboxError("no engine")
    place.run()
    assert (place.folder / "scratch" / "workspace").exists() is not bool(secret)


def test_what_an_agent_reached_is_kept(place: Place) -> None:
    place.run()
    assert not (place.folder / "network.jsonl").exists()
    place.visits = [a_visit("a.example"), a_visit("bücher.example")]
    place.run()
    lines = (place.folder / "network.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["host"] for line in lines] == ["a.example", "bücher.example"]
    assert "bücher" in lines[1]


def a_visit(host: str) -> Visit:
    return Visit(host=host, port=443)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ({"a": 6, "b": 5}, {"a"}),
        ({"a": 5, "b": 5}, {"a", "b"}),
        ({"a": 11, "b": 5}, {"b"}),
        ({"a": 10}, {"a"}),
        ({"a": 0, "b": 0, "c": 0, "d/e": 3}, {"a", "b", "c"}),
        ({"d/e/f": 4, "d/e/g": 3}, {"d/e/f", "d/e/g"}),
    ],
)
def test_changed_files_are_kept_as_far_as_there_is_room(
    sizes: dict[str, int], kept: set[str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 10)
    monkeypatch.setattr(module, "SMALLEST_ENTRY", 3)

    def act(workspace: Path) -> None:
        for name, size in sizes.items():
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (workspace / name).write_text("x" * size)

    place.agent.act = act
    place.run()
    assert files(place.folder / "workspace") == kept


def test_changed_files_that_cannot_be_kept_are_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def copied(source: Any, target: Any, **options: Any) -> Any:
        if Path(target).parent == place.folder / "workspace":
            assert options == {"follow_symlinks": False}
            raise OSError(36, "File name too long")
        return copyfile(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", copied)
    place.agent.act = lambda workspace: (workspace / "new.txt").write_text("new")
    place.run()
    assert (place.folder / "left_out.txt").read_text() == "new.txt: File name too long\n"
    assert (module.KEPT_BYTES, module.COPIED_BYTES) == (5 * 2**20, 2**28)


@dataclass
class FakeCompanion:
    closed: int = 0

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"heard": message["said"]}

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("agent_closes", [False, True])
def test_a_companion_is_closed_once_whoever_does_it(agent_closes: bool, place: Place) -> None:
    own, seen = FakeCompanion(), []

    def run(request: Request, site: Any) -> Outcome:
        assert request.companion is not None
        seen.append(request.companion.reply({"said": "hello"}))
        if agent_closes:
            request.companion.close()
        return DONE

    place.agent.run = run  # type: ignore[method-assign]
    folders: list[Path] = []

    def companion(folder: Path) -> Any:
        folders.append(folder)
        return own

    place.run(task=replace(TASK, companion=companion))
    assert own.closed == 1 and seen == [{"heard": "hello"}] and folders == [place.folder]


def test_the_answer_is_a_file_where_the_task_wants_it(place: Place) -> None:
    place.run(task=replace(TASK, answer_file="answer.txt"))
    assert place.judged == [{"first.txt": "first", "answer.txt": "said"}]


HANDED = replace(TASK, handover=True)


@pytest.mark.parametrize("broken", [False, True])
def test_a_container_that_is_handed_over_is_judged_at_once_or_never(
    broken: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def judge(task: Task, workspace: Path, site: Any, env: Any, image: str, *more: Any) -> Reward:
        seen.append((image, more[-1]))
        if broken:
            raise VerifierError("no verdict")
        return Reward(1.0)

    monkeypatch.setattr(module, "judge", judge)
    monkeypatch.setattr(module, "handed_image", lambda key: f"handed-{key}")
    place.environments.cannot_discard = True
    found = place.run(task=HANDED, verifier=None)
    name = f"handed-{an_identity().key}"
    assert seen == [("image-1", name)] and place.agent.requests[0].keep_as == name
    assert place.environments.discarded == [name]
    assert found.status is (Status.INFRA_ERROR if broken else Status.COMPLETED)
    assert not (place.folder / OUTCOME).exists()
    assert "which is not kept" in (place.folder / "work.json").read_text()


def test_a_verifier_of_the_users_own_gets_no_container(place: Place) -> None:
    place.run(task=HANDED)
    assert place.agent.requests[0].keep_as == "" and not place.environments.discarded


@pytest.mark.parametrize("own", [False, True])
def test_programs_that_tests_would_run_are_taken_out_for_tests_alone(
    own: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []

    def clean_workspace(workspace: Path, workdir: str, programs: bool) -> list[str]:
        seen.append((workdir, programs))
        return []

    monkeypatch.setattr(module, "clean_workspace", clean_workspace)
    monkeypatch.setattr(module, "judge", lambda *arguments: Reward(1.0))
    place.run(**({} if own else {"verifier": None}))
    place.folder = place.folder.parent / "second"
    place.folder.mkdir()
    place.run(verifier=None, task=replace(TASK, verify=place.verifier if own else None))
    assert seen == [("/work", not own)] * 2


WORDS = JudgeSpec(ModelSpec("judges", "j"), read_template(None))
WORDED = replace(TASK, expectations=("It greets.",))


@pytest.mark.parametrize(
    ("tests", "verifier", "question", "checked"),
    [
        (False, False, False, None),
        (True, False, False, Reward(0.75)),
        (False, True, False, HALF),
        (True, True, False, HALF),
        (False, False, True, Reward(0.25)),
        (True, False, True, Reward(0.25)),
    ],
)
def test_a_judge_decides_after_the_checks_that_a_task_has(
    tests: bool, verifier: bool, question: bool, checked: Reward | None, place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: list[tuple[Any, ...]] = []

    def judged_by_words(rollout: Rollout, reward: Any, judge: Any, *more: Any) -> Rollout:
        seen.append((reward, judge, *more))
        return rollout.model_copy(update={"reward": Reward(1.0)})

    monkeypatch.setattr(module, "judged_by_words", judged_by_words)
    monkeypatch.setattr(module, "has_tests", lambda task: tests)
    monkeypatch.setattr(module, "judge", lambda *arguments: Reward(0.75))
    monkeypatch.setattr(module, "judged", lambda task, answer: Reward(0.25))
    own = {"verifier": place.verifier if verifier else None}
    task = replace(WORDED, question=question, workspace=lambda folder: None)
    found = place.run(task=task, judge=WORDS, skill=Path("/s"), **own)
    ((reward, judge, environments, workspace, skill),) = seen
    assert found.reward == Reward(1.0) and reward == checked
    assert (judge.spec, judge.folder) == (WORDS, place.folder) and skill == Path("/s")
    assert environments is place.environments
    assert workspace == place.folder / "scratch" / "workspace", "not the copy for the tests"


def test_what_a_judge_without_a_verdict_has_used_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged_by_words(*arguments: Any) -> Rollout:
        raise JudgeError("judge: it is busy", Usage(requests=3))

    monkeypatch.setattr(module, "judged_by_words", judged_by_words)
    found = place.run(task=WORDED, judge=WORDS)
    assert found.status is Status.INFRA_ERROR and found.message == "JudgeError: judge: it is busy"
    assert found.judgement == Judgement(model="j", usage=Usage(requests=3))
    place.verdict = VerifierError("no verdict")
    place.folder = place.folder.parent / "second"
    place.folder.mkdir()
    assert place.run(task=WORDED, judge=WORDS).judgement is None


def test_tests_are_run_with_all_that_they_need(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def judge(*arguments: Any) -> Reward:
        seen.append(arguments)
        return Reward(1.0)

    monkeypatch.setattr(module, "judge", judge)
    task = replace(TASK, memory_mb=64, cpus=4.0, disk_mb=7)
    place.run(task=task, verifier=None)
    limits = Limits(memory_mb=128, cpus=4.0, disk_mb=7)
    copy = place.folder / "scratch" / "judged"
    assert seen == [
        (task, copy, None, place.environments, "image-1", place.folder, limits, "")
    ]  # fmt: skip
    assert not copy.exists(), "nothing of it stays"


@pytest.mark.parametrize("own", [False, True])
def test_a_verifier_comes_after_what_finishes_the_work(
    own: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    monkeypatch.setattr(module, "finish", lambda *arguments: steps.append(arguments))

    def verify(task: Task, workspace: Path, answer: str) -> Reward:
        steps.append((task.name, workspace, answer))
        return Reward(0.75)

    task = replace(TASK, verify=verify)
    found = place.run(task=task, verifier=place.verifier if own else None)
    copy = place.folder / "scratch" / "judged"
    limits = Limits(memory_mb=128, cpus=2.0, disk_mb=5)
    finished = (task, copy, None, place.environments, "image-1", place.folder, limits)
    assert steps[0] == finished and found.reward.soft == (0.5 if own else 0.75)
    assert steps[1:] == ([] if own else [("task-1", copy, "said")])


def folder_there(file: Path) -> None:
    file.mkdir()
    (file / "inner").write_text("x")


@pytest.mark.parametrize(
    "there",
    [
        lambda file: None,
        lambda file: file.write_text("what the agent left"),
        folder_there,
        lambda file: file.symlink_to("first.txt"),
        lambda file: file.symlink_to("."),
    ],
    ids=["nothing", "a file", "a folder", "a link", "a link to a folder"],
)
def test_the_answer_takes_the_place_of_whatever_is_there(there: Any, place: Place) -> None:
    place.agent.act = lambda workspace: there(workspace / "answer")
    place.agent.outcome = replace(DONE, answer="said ü")
    found = place.run(task=replace(TASK, answer_file="answer"))
    assert found.status is Status.COMPLETED, found.message
    assert place.judged == [{"first.txt": "first", "answer": "said ü"}]


def test_the_trajectory_of_an_agent_is_kept(place: Place) -> None:
    told: Any = SimpleNamespace(to_json_dict=lambda: {"steps": ["ü"]})
    place.agent.outcome = replace(DONE, trajectory=told)
    place.run()
    assert json.loads((place.folder / "trajectory.json").read_text("utf-8")) == {"steps": ["ü"]}
    assert "trajectory.json" in files(place.folder)


def test_an_own_part_that_raises_leaves_its_name_and_the_companion_closed(place: Place) -> None:
    own = FakeCompanion()

    def broken(folder: Path) -> Any:
        raise ValueError("odd")

    with pytest.raises(OwnCodeError, match="the companion of task task-1"):
        place.run(task=replace(TASK, companion=broken))
    shutil.rmtree(place.folder / "scratch")
    place.agent.outcome = ValueError("odd")
    with pytest.raises(OwnCodeError, match="harness agent"):
        place.run(task=replace(TASK, companion=lambda folder: own))
    assert own.closed == 1


def test_a_failure_before_the_agent_has_begun_has_used_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settled(task: Task) -> Task:
        raise SandboxError("no image")

    monkeypatch.setattr(place.environments, "settled", settled)
    found = place.run(task=HANDED, verifier=None)
    assert (found.status, found.message) == (Status.INFRA_ERROR, "SandboxError: no image")
    assert (found.usage, found.duration_s, found.service_s) == (Usage(), 0.0, 0.0)
    assert not place.environments.discarded and not place.agent.requests


def test_the_files_of_earlier_tests_are_gone_before_the_agent_runs(place: Place) -> None:
    (place.folder / "verifier").mkdir()
    (place.folder / "verifier" / "reward.txt").write_text("1")
    place.agent.act = lambda workspace: os.stat(place.folder / "verifier")
    with pytest.raises(OwnCodeError, match="FileNotFoundError"):
        place.run()


def test_an_answer_that_utf_8_cannot_express_waits_to_be_judged_too(place: Place) -> None:
    place.agent.outcome = replace(DONE, answer="said caf\udce9", message="m\udce9")
    place.verdict = VerifierError("no verdict")
    assert place.run().status is Status.INFRA_ERROR
    place.verdict = Reward(1.0)
    found = place.run()
    assert (found.answer, found.message) == ("said caf?", "m?") and len(place.agent.requests) == 1
