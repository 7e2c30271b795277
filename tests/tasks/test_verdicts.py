"""What counts as a verdict, and what is kept of the answers of a task's tests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from filelock import FileLock, Timeout

from sandboxes.access import Visit
from sandboxes.base import ImageMissingError, Limits, SandboxError, SandboxSpec
from sandboxes.local_backend import LocalBackend
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import Answers, Attempt, VerifierSite, judge, run_tests, verifier_site
from skillopt.tasks.rewards import VerifierError
from skillopt.tasks.warm import UNUSABLE, Start, copy_home, warm_up
from tests.helpers.scripted_sandbox import Ended, ScriptedSandboxes, place
from tests.helpers.tasks import make_task
from tests.helpers.values import a_task

BASE = "skillopt/agent-base:1"
HOSTS = {"a:1": "refused", "b:2": "down"}


@pytest.mark.parametrize(
    ("reward", "unreached", "harmless", "missed", "judged"),
    [
        (None, {}, set(), [], False),
        (None, HOSTS, set(), ["a:1", "b:2"], False),
        (Reward(0.0), {}, set(), [], True),
        (Reward(0.5), HOSTS, set(), ["a:1", "b:2"], False),
        (Reward(0.5), HOSTS, {"a:1"}, ["b:2"], False),
        (Reward(0.5), HOSTS, {"a:1", "b:2"}, [], True),
        (None, HOSTS, {"a:1", "b:2"}, [], False),
        # The full reward needed none of it.
        (Reward(1.0), HOSTS, set(), [], True),
        (Reward(0.5, solved=True), HOSTS, set(), [], True),
        (Reward(1.0, solved=False), HOSTS, set(), ["a:1", "b:2"], False),
    ],
)
def test_what_is_a_verdict(
    reward: Reward | None,
    unreached: dict[str, str],
    harmless: set[str],
    missed: list[str],
    judged: bool,
) -> None:
    attempt = Attempt(reward, "", unreached)
    assert attempt.missed(frozenset(harmless)) == missed
    assert attempt.judged(frozenset(harmless)) is judged
    assert bool(attempt.wanted(frozenset(harmless))) is bool(missed)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (1, "wanted h0 (0): install"),
        (2, "wanted h0 (0), h1 (1): install"),
        (5, "h3 (3), h4 (4): install"),
        (6, "h3 (3), h4 (4) and 1 more: install"),
        (8, "h3 (3), h4 (4) and 3 more: install"),
    ],
)
def test_the_first_hosts_that_were_missed_are_named(hosts: int, said: str) -> None:
    attempt = Attempt(None, "no reward", {f"h{n}": f"{n}" for n in range(hosts)})
    assert said in attempt.wanted(frozenset())
    assert attempt.reason(a_task(), frozenset()).startswith("no reward; the tests wanted h0 (0)")
    assert attempt.reason(a_task(), frozenset(attempt.unreached)) == "no reward"


def test_a_reward_that_is_no_verdict_is_said_to_be_none() -> None:
    reason = Attempt(Reward(0.5), "", HOSTS).reason(a_task("t"), frozenset())
    assert reason.startswith("t: tests/test.sh wrote a reward, which is no verdict; the tests want")


VERDICT = Attempt(Reward(0.25), "", {"a:1": "refused"})


def kept(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_harmless_hosts_are_kept_for_one_task_image_and_verifier(tmp_path: Path) -> None:
    answers, task = Answers(tmp_path / "answers", "none"), a_task("t")
    assert answers.harmless(task, "i") == frozenset() and not (tmp_path / "answers").exists()
    answers.note_harmless(task, "i", frozenset({"b:1"}))
    answers.note_harmless(task, "i", frozenset({"a:1"}))
    assert kept(tmp_path / "answers") == {
        "format": 1, "task": "t", "soft": None, "unreached": {}, "harmless": ["a:1", "b:1"],
        "warm": "",
    }  # fmt: skip
    other = Answers(tmp_path / "answers", "none")
    assert other.harmless(task, "i") == {"a:1", "b:1"}
    assert other.harmless(task, "j") == other.harmless(a_task("u"), "i") == frozenset()
    assert Answers(tmp_path / "answers", "all").harmless(task, "i") == frozenset()
    # What is known already is not written again.
    (file,) = (tmp_path / "answers").glob("*.json")
    before = file.stat().st_ino
    other.note_harmless(task, "i", frozenset({"a:1"}))
    assert file.stat().st_ino == before
    alone = Answers()
    alone.note_harmless(task, "i", frozenset({"a:1"}))
    assert alone.harmless(task, "i") == {"a:1"}


@pytest.mark.parametrize("folder", [True, False])
def test_the_initial_workspace_is_asked_once(folder: bool, tmp_path: Path) -> None:
    answers, task, asked = Answers(tmp_path if folder else None), a_task("t"), []

    def run() -> Attempt:
        asked.append(1)
        return VERDICT

    answers.note_harmless(task, "i", frozenset({"a:1"}))
    for _ in range(2):
        assert answers.initial(task, "i", run) == VERDICT
    assert len(asked) == 1
    if folder:
        assert (kept(tmp_path)["soft"], kept(tmp_path)["unreached"]) == (0.25, {"a:1": "refused"})
    found = Answers(tmp_path if folder else None).initial(task, "i", run)
    assert found == VERDICT and len(asked) == (1 if folder else 2)
    # What is noted afterwards takes nothing of it away.
    answers.note_harmless(task, "i", frozenset({"b:1"}))
    assert answers.initial(task, "i", run) == VERDICT and len(asked) == (1 if folder else 2)


@pytest.mark.parametrize("attempt", [Attempt(None, "no reward"), VERDICT])
def test_what_is_no_verdict_is_forgotten_with_the_process(attempt: Attempt, tmp_path: Path) -> None:
    answers, task, asked = Answers(tmp_path), a_task("t"), []

    def run() -> Attempt:
        asked.append(1)
        return attempt

    for _ in range(2):
        assert answers.initial(task, "i", run) == attempt
    assert len(asked) == 1
    assert (kept(tmp_path)["soft"], kept(tmp_path)["unreached"]) == (None, {})
    assert Answers(tmp_path).initial(task, "i", run) == attempt and len(asked) == 2


def test_another_process_that_wants_to_know_waits_for_the_one_that_asks(tmp_path: Path) -> None:
    answers, held = Answers(tmp_path / "deep" / "answers"), list[bool]()

    def run() -> Attempt:
        (lock,) = (tmp_path / "deep" / "answers").glob("*.lock")
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        held.append(True)
        return VERDICT

    answers.initial(a_task(), "i", run)
    assert held == [True]


def test_a_verdict_of_0_is_one(tmp_path: Path) -> None:
    zero = Attempt(Reward(0.0))
    Answers(tmp_path).initial(a_task(), "i", lambda: zero)
    assert kept(tmp_path)["soft"] == 0.0
    assert Answers(tmp_path).initial(a_task(), "i", lambda: VERDICT) == zero


class Asked:
    """Tests that are asked for a verdict with what they start with, and keep their home."""

    def __init__(self, *ends: float | Exception | None, size: int = 1) -> None:
        self.ends, self.size = [*ends], size
        self.starts: list[Start] = []
        self.discarded: list[str] = []

    def reward(self, start: Start) -> Reward | None:
        self.starts.append(start)
        if start.keep_home is not None and self.size:
            start.keep_home.mkdir()
            with (start.keep_home / "file").open("wb") as file:
                file.truncate(self.size)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return None if end is None else Reward(end)

    def attempt(self, start: Start) -> Attempt:
        return Attempt(self.reward(start))


NAME = f"skillopt/warm:{'k' * 24}"


@pytest.mark.parametrize(
    ("asked", "asks", "usable"),
    [
        (Asked(0.5, 0.5), 2, True),
        (Asked(0.0, 0.0, size=1024**3), 2, True),
        (Asked(0.5, 0.25), 2, False),
        (Asked(0.25, 0.5), 2, False),
        (Asked(0.5, None), 2, False),
        (Asked(None, 0.5), 1, False),
        # Without a home, or with one that is too large, it is not tried.
        (Asked(0.5, 0.5, size=0), 1, False),
        (Asked(0.5, 0.5, size=1024**3 + 1), 1, False),
        (Asked(SandboxError("down")), 1, False),
        (Asked(OSError("full")), 1, False),
        (Asked(0.5, SandboxError("down")), 2, False),
    ],
    ids=lambda value: str(getattr(value, "ends", value)),
)
def test_what_tests_left_is_used_if_they_judge_the_same_with_it(
    asked: Asked, asks: int, usable: bool, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()  # Of a process that was killed.
    found = warm_up("cold", "k" * 30, home, asked.reward, asked.discarded.append)
    assert found == (NAME if usable else UNUSABLE)
    assert asked.discarded == ([] if usable else [NAME])
    assert home.exists() is usable
    first = Start("cold", keep_as=NAME, keep_home=home)
    assert asked.starts == [first, Start(NAME, home=home)][:asks]


def test_an_image_that_cannot_be_removed_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def discard(name: str) -> None:
        raise SandboxError("in use")

    asked = Asked(SandboxError("down"))
    assert warm_up("cold", "k", tmp_path / "home", asked.reward, discard) == UNUSABLE
    assert caplog.messages == ["what the tests fetch is not kept: down", "in use"]


def test_a_home_is_copied_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "home" / "deep").mkdir(parents=True)
    (tmp_path / "home" / "deep" / "file").write_text("x")
    (tmp_path / "home" / "link").symlink_to("/etc/passwd")
    for target in ("there", "new"):
        if target == "there":
            (tmp_path / target).mkdir()
        copy_home(tmp_path / "home", tmp_path / target)
        assert (tmp_path / target / "deep" / "file").read_text() == "x"
        assert (tmp_path / target / "link").is_symlink()


def test_what_tests_fetched_is_kept_once_for_all_that_know_of_it(tmp_path: Path) -> None:
    answers, task = Answers(tmp_path), a_task("t")
    asked = Asked(0.5, 0.5)
    assert answers.start(task, "i") == Start("i")
    for _ in range(2):
        answers.warm_up(task, "i", asked.attempt, asked.discarded.append)
    assert len(asked.starts) == 2 and kept(tmp_path)["warm"].startswith("skillopt/warm:")
    (home,) = tmp_path.glob("*.home")
    for known in (answers, Answers(tmp_path)):
        assert known.start(task, "i") == Start(kept(tmp_path)["warm"], home)
        assert known.start(task, "j") == Start("j")
    (home / "file").unlink()
    home.rmdir()  # Somebody cleaned up.
    assert answers.start(task, "i") == Start("i")
    home.mkdir()
    answers.forget_warm(task, "i")
    assert answers.start(task, "i") == Start("i") and kept(tmp_path)["warm"] == ""
    again = Asked(0.5, 0.25)
    answers.warm_up(task, "i", again.attempt, again.discarded.append)
    assert kept(tmp_path)["warm"] == UNUSABLE and len(again.starts) == 2
    home.mkdir()
    assert answers.start(task, "i") == Start("i")
    answers.warm_up(task, "i", again.attempt, again.discarded.append)
    assert len(again.starts) == 2


def test_nothing_is_kept_without_a_folder() -> None:
    asked, answers = Asked(0.5, 0.5), Answers()
    answers.warm_up(a_task(), "i", asked.attempt, asked.discarded.append)
    assert not asked.starts and answers.start(a_task(), "i") == Start("i")


def test_what_is_no_verdict_warms_nothing_up(tmp_path: Path) -> None:
    task, starts = a_task(), []

    def ask(start: Start) -> Attempt:
        starts.append(start)
        return VERDICT  # It missed a host.

    Answers(tmp_path).warm_up(task, "i", ask, lambda name: None)
    assert len(starts) == 1 and kept(tmp_path)["warm"] == UNUSABLE
    answers = Answers(tmp_path / "other")
    answers.note_harmless(task, "i", frozenset({"a:1"}))
    answers.warm_up(task, "i", ask, lambda name: None)
    assert len(starts) == 2 and kept(tmp_path / "other")["harmless"] == ["a:1"]


class Way:
    """A way outside, as an outlet of a backend is one."""

    env: ClassVar = {"PROXY": "p", "MINE": "outlet"}

    def connect(self) -> str:
        return "container:relay"

    def visits(self) -> list[Visit]:
        return [Visit("a", 1)]


def test_verifiers_of_a_backend_have_its_way_outside() -> None:
    boxes = ScriptedSandboxes(lambda spec, argv: Ended())
    backend = cast(Any, SimpleNamespace(sandbox=boxes))
    answers = Answers()
    site = verifier_site(backend, cast(Any, Way()), answers)
    site.sandbox(SandboxSpec("i", env={"MINE": "task"}, root=True))
    assert boxes.specs == [
        SandboxSpec("i", env={"PROXY": "p", "MINE": "task"}, root=True, network="container:relay")
    ]
    assert site.answers is answers and [*site.visits()] == [Visit("a", 1)]
    assert verifier_site(backend, cast(Any, Way())).answers.folder is None
    assert not VerifierSite(boxes).visits()
    assert not Attempt(None).reached


REFUSED = Visit("a", 1, refused="not listed")
DOWN = Visit("a", 1, failed="no connection")
REACHED = Visit("a", 1)


@dataclass
class Case:
    """A task whose tests end as they are told: the first is told on the agent's work."""

    folder: Path
    ends: list[Ended | Exception] = field(default_factory=list)
    visits: list[list[Visit]] = field(default_factory=list)
    """What each run of the tests visits."""
    before: list[Visit] = field(default_factory=list)
    """What an earlier verifier visited."""
    keeps: bool = False

    def __post_init__(self) -> None:
        self.task = read_task(make_task(self.folder / "task", "true\n"))
        self.boxes = ScriptedSandboxes(self.act)
        self.answers = Answers(self.folder / "answers")
        self.waiting = [*self.before]
        self.discarded: list[str] = []
        self.count = 0

    def act(self, spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        self.waiting += self.visits.pop(0) if self.visits else []
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def seen(self) -> list[Visit]:
        found, self.waiting = self.waiting, []
        return found

    @property
    def site(self) -> VerifierSite:
        return VerifierSite(self.boxes, self.seen, self.answers)

    def place(self) -> Path:
        self.count += 1
        folder = self.folder / str(self.count)
        (folder / "workspace").mkdir(parents=True)
        return folder

    def run(self, task: Task | None = None) -> Attempt:
        folder = self.place()
        return run_tests(task or self.task, folder / "workspace", self.site, Start(BASE), folder)

    def judge(self, *ends: Ended | Exception, **options: Any) -> Reward:
        self.ends += ends
        folder = self.place()
        environments: Environments = Environments(LocalBackend())
        if self.keeps:
            environments = Keeping(self.discarded)
        return judge(
            self.task, folder / "workspace", self.site, environments, BASE, folder, **options
        )

    @property
    def images(self) -> list[str]:
        return [spec.image for spec in self.boxes.specs]


class Keeping(Environments):
    """Environments whose backend can make images of containers."""

    def __init__(self, discarded: list[str]) -> None:
        super().__init__(LocalBackend())
        self.discarded = discarded

    @property
    def keeps(self) -> bool:
        return True

    def discard(self, image: str) -> None:
        self.discarded.append(image)


NO_HOSTS: dict[str, str] = {}


@pytest.mark.parametrize(
    ("visits", "unreached", "reached"),
    [
        ([], NO_HOSTS, False),
        ([REFUSED], {"a:1": "not listed"}, False),
        ([DOWN], {"a:1": "no connection"}, False),
        ([REACHED], NO_HOSTS, True),
        # The last attempt at a host counts.
        ([REFUSED, DOWN, REACHED], NO_HOSTS, True),
        ([REACHED, DOWN], {"a:1": "no connection"}, True),
        ([REFUSED, Visit("a", 2), Visit("b", 1, failed="x")], {"a:1": "not listed", "b:1": "x"},
         True),
        ([Visit("a", 1, refused="r", failed="f")], {"a:1": "r"}, False),
    ],
)  # fmt: skip
def test_which_hosts_tests_reached(
    visits: list[Visit], unreached: dict[str, str], reached: bool, tmp_path: Path
) -> None:
    case = Case(tmp_path, [Ended(0.5)], [visits], before=[Visit("old", 1, failed="x"), REACHED])
    found = case.run()
    assert (found.unreached, found.reached) == (unreached, reached)
    assert found.reward is not None and found.reward.soft == 0.5 and found.problem == ""


ROOT, HOST = "root's rights", "a host"


@pytest.mark.parametrize(
    ("printed", "instruction", "what"),
    [
        ("E: dpkg lock, are you root?", "", ROOT),
        ("E: Could not open lock file /var/lib", "", ROOT),
        ("Unable to lock database", "", ROOT),
        ("needs superuser privileges", "", ROOT),
        ("Permission denied: '/var/lib/apt/lists'", "", ROOT),
        ("/var/lib/dpkg/lock: Permission denied", "", ROOT),
        ("/var/lib/other: Permission denied", "", ""),
        ("curl: (6) Could not resolve host: a.b", "", HOST),
        ("Temporary failure in name resolution", "", HOST),
        ("Temporary failure resolving 'a.b'", "", HOST),
        ("getaddrinfo EAI_AGAIN a.b", "", HOST),
        ("Name or service not known", "", HOST),
        ("Network is unreachable", "", HOST),
        ("x: line 4: uv: command not found", "", "the program uv"),
        ("x: uvx: not found", "", "the program uvx"),
        ("sh: pip3: not found\nsh: jest: not found", "", "the program pip3"),
        ("sh: pip3: not found\nsh: jest: not found", "Install pip3.", "the program jest"),
        ("sh: pip3: not found\nsh: jest: not found", "Install pip3 and jest.", ""),
        ("No module named 'pytest'", "", "the program pytest"),
        ("No module named pip", "", "the program pip"),
        ("No module named pip", "Use pip3.", "the program pip"),
        ("No module named pipeline", "", ""),
        ("sh: mypytest_x: not found", "", ""),
        ("all is well", "", ""),
    ],
)
def test_what_programs_say_that_they_miss(
    printed: str, instruction: str, what: str, tmp_path: Path
) -> None:
    case = Case(tmp_path, [Ended(0, stderr=f"first\n  {printed}  \nlast\n")])
    found = case.run(task=replace(case.task, instruction=instruction or "Do it."))
    assert [*found.unreached] == ([what] if what else [])
    assert all(line in printed.split("\n") for line in found.unreached.values())


@pytest.mark.parametrize(
    ("end", "heard"),
    [
        (Ended(0.0), True), (Ended(1.0), True), (Ended(None), True), (Ended(0.5), False),
        (Ended(0.0, code=3), True),
    ],
)  # fmt: skip
def test_what_tests_print_counts_unless_they_gave_a_part_of_the_reward(
    end: Ended, heard: bool, tmp_path: Path
) -> None:
    line = "Network is unreachable" + "!" * 300
    found = Case(tmp_path, [replace(end, stderr=line)]).run()
    assert found.unreached == ({HOST: line[:200]} if heard else {})
    assert bool(found.problem) is (end.reward is None)
    assert not Case(tmp_path / "x", [replace(end, stdout=line)]).run().unreached


def test_a_verdict_is_returned_and_nothing_more_is_asked(tmp_path: Path) -> None:
    case = Case(tmp_path)
    reward = case.judge(Ended(0.5, stdout="two rows differ"))
    assert (reward.soft, reward.feedback) == (0.5, "two rows differ")
    assert case.images == [BASE] and not (tmp_path / "answers").exists()
    (argv, deadline_s) = case.boxes.runs[0]
    assert deadline_s == 30.0 and argv[-1].endswith("/test.sh")
    assert case.boxes.specs[0].limits.memory_mb == 1536
    case.judge(Ended(0.5), limits=Limits(memory_mb=4000))
    assert case.boxes.specs[1].limits.memory_mb == 4000


def test_no_verdict_is_a_0_if_the_tests_judge_the_initial_workspace(tmp_path: Path) -> None:
    case = Case(tmp_path)
    limits = Limits(memory_mb=4000)
    reward = case.judge(Ended(code=3), Ended(0.0), limits=limits)
    assert (reward.soft, reward.metrics) == (0.0, {"reward": 0.0})
    assert "no verdict on this work, but judge the initial workspace: task: " in reward.feedback
    folder = tmp_path / "1" / "verifier"
    assert json.loads((folder / "reward.json").read_text()) == {"reward": 0.0}
    assert (folder / "feedback.txt").read_text() == reward.feedback
    assert [spec.limits.memory_mb for spec in case.boxes.specs] == [4000, 4000]
    # Each run has a workspace of its own.
    assert place(case.boxes.specs[0], "/app") == tmp_path / "1" / "workspace"
    assert place(case.boxes.specs[1], "/app") != tmp_path / "1" / "workspace"
    assert case.judge(Ended(code=3)).soft == 0.0


@pytest.mark.parametrize(
    ("ends", "visits", "also"),
    [
        ((Ended(code=3), Ended(code=3)), [], ""),
        ((Ended(code=3), Ended(code=4)), [], ". There: task: tests/test.sh wrote neither"),
        ((Ended(0.5), Ended(0.5)), [[DOWN], [DOWN]], ""),
        ((Ended(0.5), Ended(0.5)), [[DOWN], [REFUSED]], ". There: task: tests/test.sh wrote a rew"),
    ],
)
def test_tests_that_judge_neither_cannot_judge(
    ends: tuple[Ended, ...], visits: list[list[Visit]], also: str, tmp_path: Path
) -> None:
    case = Case(tmp_path, visits=visits)
    with pytest.raises(VerifierError) as error:
        case.judge(*ends)
    said = str(error.value)
    assert "Nor do they judge the initial workspace" in said
    assert also in said if also else said.endswith("workspace")


@pytest.mark.parametrize(
    ("reward", "visits", "harmless"),
    [(1.0, [DOWN], ["a:1"]), (1.0, [REACHED], None), (1.0, [], None)],
)
def test_what_the_full_reward_did_without_is_harmless(
    reward: float, visits: list[Visit], harmless: list[str] | None, tmp_path: Path
) -> None:
    case = Case(tmp_path, visits=[visits, visits])
    assert case.judge(Ended(reward)).soft == reward
    files = list((tmp_path / "answers").glob("*.json"))
    assert [json.loads(file.read_text())["harmless"] for file in files] == (
        [harmless] if harmless else []
    )
    if harmless:
        assert case.judge(Ended(0.5)).soft == 0.5  # That is a verdict from now on.


@pytest.mark.parametrize(
    ("keeps", "visit", "handed", "warmed"),
    [
        (True, REACHED, "", True),
        (True, DOWN, "", False),
        (True, REACHED, "handed:1", False),
        (False, REACHED, "", False),
    ],
)
def test_tests_that_reached_a_host_are_warmed_up(
    keeps: bool, visit: Visit, handed: str, warmed: bool, tmp_path: Path
) -> None:
    case = Case(tmp_path, visits=[[visit]], keeps=keeps)
    case.ends += [Ended(0.5), Ended(0.5), Ended(0.5), Ended(0.5)]
    assert case.judge(handed=handed).soft == (0.0 if visit is DOWN else 0.5)
    if warmed:
        warm_image = kept(tmp_path / "answers")["warm"]
        assert case.images == [BASE, BASE, warm_image]
        assert [spec.keep_as for spec in case.boxes.specs] == ["", warm_image, ""]
        assert case.judge().soft == 0.5
        assert case.images[3:] == [warm_image]
    else:
        assert case.images[0] == (handed or BASE)
        assert not any(image.startswith("skillopt/warm") for image in case.images)
        assert not any(spec.keep_as for spec in case.boxes.specs)


def test_an_image_that_was_kept_and_is_gone_is_forgotten(tmp_path: Path) -> None:
    case = Case(tmp_path, visits=[[REACHED]], keeps=True)
    case.judge(Ended(0.5), Ended(0.5), Ended(0.5))
    warm_image = kept(tmp_path / "answers")["warm"]
    assert case.judge(ImageMissingError("gone"), Ended(0.25)).soft == 0.25
    assert case.images[3:] == [warm_image, BASE]
    assert kept(tmp_path / "answers")["warm"] == ""
    assert case.judge(Ended(0.5)).soft == 0.5 and case.images[5:] == [BASE]


@pytest.mark.parametrize("handed", ["", "handed:1"])
def test_another_image_that_is_gone_is_an_error(handed: str, tmp_path: Path) -> None:
    case = Case(tmp_path)
    with pytest.raises(ImageMissingError, match=re.escape("gone")):
        case.judge(ImageMissingError("gone"), Ended(1.0), handed=handed)
    assert case.images == [handed or BASE]
