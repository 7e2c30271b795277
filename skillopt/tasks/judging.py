"""A verdict needs a judge that judged: who is to blame if a task's tests give none.

Tests that end without a reward, are stopped, or wanted a host that they could not reach are run
once more, on the workspace that the task starts with. If they give a verdict there, what the agent
left made them fail: the task is unsolved. If not, the tests cannot judge here, and nothing is
scored.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from sandboxes.access import Visit
from sandboxes.backend import Backend, Outlet
from sandboxes.base import ImageMissingError, Limits, Sandbox, SandboxFactory, SandboxSpec
from sandboxes.owner import scratch_dir
from sandboxes.trees import remove_tree
from skillopt.core.files import digest_of, read_json, to_json, write_atomic
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.rewards import VerifierError
from skillopt.tasks.verifier import ERRORS, verify, write_verdict
from skillopt.tasks.warm import UNUSABLE, Start, warm_up

SHOWN = 5
_COMPLAINTS = {
    "root's rights": re.compile(
        r".*(are you root|Could not open lock file|Unable to lock database|superuser privileges"
        r"|Permission denied.*/var/lib/(apt|dpkg)|/var/lib/(apt|dpkg).*Permission denied).*"
    ),
    "a host": re.compile(
        r".*(Could not resolve host|Temporary failure (in name resolution|resolving)|EAI_AGAIN"
        r"|Name or service not known|Network is unreachable).*"
    ),
}
"""What package managers and clients print that want what a verifier does not have."""
_RUNNER = re.compile(
    r".*(?:\b(uvx?|pytest|pip3?|npx|jest|vitest): (?:command )?not found"
    r"|No module named '?(pytest|pip|uv)\b).*"
)
"""What is printed where that which runs tests is missing. The agent is to install it only if the
instruction names it."""
GUARDS = 2
"""Raised if what a verifier finds around it changes so that an old answer may be wrong."""


@dataclass(frozen=True)
class Attempt:
    """One run of a task's tests.

    Args:
        reward: that they gave; None if they gave none.
        problem: why they gave none.
        unreached: the hosts that they wanted and did not reach, and the rights that they wanted
            and do not have, each with the reason.
        reached: whether they reached a host.
    """

    reward: Reward | None
    problem: str = ""
    unreached: Mapping[str, str] = field(default_factory=dict)
    reached: bool = False

    def missed(self, harmless: frozenset[str]) -> list[str]:
        """That without which this is no verdict. The full reward needed none of it."""
        full = self.reward is not None and self.reward.hard
        return [] if full else [host for host in self.unreached if host not in harmless]

    def judged(self, harmless: frozenset[str]) -> bool:
        """Whether this is a verdict."""
        return self.reward is not None and not self.missed(harmless)

    def wanted(self, harmless: frozenset[str]) -> str:
        """What the tests missed and what to do, as the end of a message; empty if nothing."""
        missed = self.missed(harmless)
        if not missed:
            return ""
        what = ", ".join(f"{one} ({self.unreached[one]})" for one in missed[:SHOWN])
        more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
        return (
            f"; the tests wanted {what}{more}: install what they need in environment/Dockerfile, "
            "or allow the hosts with sandbox.verifier_network (a list, or 'registries')"
        )

    def reason(self, task: Task, harmless: frozenset[str]) -> str:
        """Why this is no verdict, and what to do."""
        what = self.problem or f"{task.name}: tests/test.sh wrote a reward, which is no verdict"
        return f"{what}{self.wanted(harmless)}"


@dataclass(frozen=True)
class _Known:
    """What is known of the tests of one task.

    Args:
        initial: their answer to the initial workspace, if they were asked.
        harmless: the hosts that they wanted, and did not need to give the full reward.
        warm: the image that they start with since they have fetched things, see
            :mod:`skillopt.tasks.warm`; empty if they have not.
    """

    initial: Attempt | None = None
    harmless: frozenset[str] = frozenset()
    warm: str = ""


@dataclass
class Answers:
    """What is known of the tests of tasks, beyond single rollouts. Safe to use from threads.

    Args:
        folder: in which it is kept, a file for each task and verifier; None keeps it in this object
            alone.
        verifier: everything else that the tests' answers depend on, such as their network.
    """

    folder: Path | None = None
    verifier: str = ""
    _known: dict[str, _Known] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def harmless(self, task: Task, image: str) -> frozenset[str]:
        """The hosts that the task's tests wanted, and did not need to give the full reward."""
        return self._read(self._key(task, image)).harmless

    def note_harmless(self, task: Task, image: str, hosts: frozenset[str]) -> None:
        """Record the hosts that were not reached in a run that gave the full reward."""
        key = self._key(task, image)
        if not hosts <= self._read(key).harmless:
            with self._locked(key):
                known = self._read(key)
                self._write(key, task, replace(known, harmless=known.harmless | hosts))

    def start(self, task: Task, image: str) -> Start:
        """What the task's tests start with: what is kept of earlier ones, or an image alone."""
        key = self._key(task, image)
        warm, home = self._read(key).warm, self._home(key)
        kept = warm not in ("", UNUSABLE) and home is not None and home.is_dir()
        return Start(warm, home) if kept else Start(image)

    def warm_up(
        self,
        task: Task,
        image: str,
        ask: Callable[[Start], Attempt],
        discard: Callable[[str], None],
    ) -> None:
        """Keep what the task's tests fetch, once for a task and image.

        Args:
            task, image: of the rollout.
            ask: runs the tests on the initial workspace.
            discard: removes an image, if it is there.
        """

        def verdict(start: Start) -> Reward | None:
            found = ask(start)
            return found.reward if found.judged(self._read(key).harmless) else None

        key = self._key(task, image)
        home = self._home(key)
        if home is None or self._read(key).warm:
            return
        with self._locked(key):
            known = self._read(key)
            if not known.warm:
                warm = warm_up(image, key, home, verdict, discard)
                self._write(key, task, replace(self._read(key), warm=warm))

    def forget_warm(self, task: Task, image: str) -> None:
        """Record that what was kept is gone."""
        key = self._key(task, image)
        with self._locked(key):
            self._write(key, task, replace(self._read(key), warm=""))

    def _home(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.home"

    def initial(self, task: Task, image: str, run: Callable[[], Attempt]) -> Attempt:
        """The tests' answer to the task's initial workspace.

        Args:
            task, image: of the rollout.
            run: asks them. Called at most once for a task and image, by one of the threads and
                processes that want to know. A verdict is kept for good, any other ending as long
                as this object: its cause may be removed.
        """
        key = self._key(task, image)
        with self._locked(key):
            known = self._read(key)
            if known.initial is None:
                known = replace(known, initial=run())
                self._write(key, task, known)
            assert known.initial is not None
            return known.initial

    def _key(self, task: Task, image: str) -> str:
        return digest_of([GUARDS, task.digest, image, self.verifier])

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Keep out other threads, and processes with the same folder."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock, ExitStack() as stack:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(self.folder / f"{key}.lock"))
            yield

    def _read(self, key: str) -> _Known:
        known = self._known.get(key, _Known())
        file = None if self.folder is None else self.folder / f"{key}.json"
        if file is None or not file.is_file():
            return known
        values = read_json(file, format=1)
        soft, unreached = values["soft"], values["unreached"]
        kept = Attempt(Reward(soft), unreached=dict(unreached)) if soft is not None else None
        harmless = known.harmless | frozenset(values["harmless"])
        return _Known(known.initial or kept, harmless, values.get("warm", ""))

    def _write(self, key: str, task: Task, known: _Known) -> None:
        self._known[key] = known
        if self.folder is None:
            return
        initial = known.initial if known.initial and known.initial.judged(known.harmless) else None
        values = {
            "format": 1,
            "task": task.name,
            "soft": initial and initial.reward and initial.reward.soft,
            "unreached": initial.unreached if initial else {},
            "harmless": sorted(known.harmless),
            "warm": known.warm,
        }
        write_atomic(self.folder / f"{key}.json", to_json(values))


@dataclass(frozen=True)
class VerifierSite:
    """Where verifiers run. Two of them never use one at the same time.

    Args:
        sandbox: makes their sandboxes.
        visits: the attempts of these to reach something outside, since the last call.
        answers: what is known of the tests.
    """

    sandbox: SandboxFactory
    visits: Callable[[], Sequence[Visit]] = tuple
    answers: Answers = field(default_factory=Answers)


def verifier_site(backend: Backend, outlet: Outlet, answers: Answers | None = None) -> VerifierSite:
    """Where verifiers run on a backend.

    Args:
        backend: makes their sandboxes.
        outlet: their way outside, which no other sandboxes use at the same time.
        answers: what is known of the tests.
    """

    def sandbox(spec: SandboxSpec) -> Sandbox:
        network, env = outlet.connect(), {**outlet.env, **spec.env}
        return backend.sandbox(replace(spec, network=network, env=env))

    return VerifierSite(sandbox, outlet.visits, answers or Answers())


def judge(
    task: Task,
    workspace: Path,
    site: VerifierSite,
    environments: Environments,
    image: str,
    folder: Path,
    limits: Limits | None = None,
    handed: str = "",
) -> Reward:
    """Judge a workspace with the task's tests; without a verdict, ask them of the initial one too.

    Args:
        task: whose tests are run.
        workspace: what the agent left, made harmless; the tests may change it.
        site: where they run.
        environments: provides the initial workspace.
        image: of the task.
        folder: the rollout's, in which ``verifier/`` is made.
        limits: that the agent had; by default the task's.
        handed: the image of the agent's container, if the verifier gets it whole.

    Raises:
        VerifierError: the tests cannot judge here. The message names the host, program or limit.
        SandboxError: a sandbox failed.
    """
    answers, verifies = site.answers, environments.verifier_image(task, image)

    def ask(start: Start) -> Attempt:
        with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
            scratch = Path(name)
            environments.prepare(task, scratch / "workspace")
            return run_tests(task, scratch / "workspace", site, start, scratch, limits)

    start = Start(handed) if handed else answers.start(task, verifies)
    try:
        found = run_tests(task, workspace, site, start, folder, limits)
    except ImageMissingError:
        if handed or start.image == verifies:
            raise
        answers.forget_warm(task, verifies)
        remove_tree(folder / "verifier")
        found = run_tests(task, workspace, site, Start(verifies), folder, limits)
    if found.reached and not handed and environments.keeps:
        answers.warm_up(task, verifies, ask, environments.discard)
    if found.reward is not None and not found.missed(answers.harmless(task, image)):
        if found.reward.hard and found.unreached:
            answers.note_harmless(task, image, frozenset(found.unreached))
        return found.reward

    initial = answers.initial(task, image, lambda: ask(answers.start(task, verifies)))
    harmless = answers.harmless(task, image)
    why = found.reason(task, harmless)
    if not initial.judged(harmless):
        also = initial.reason(task, harmless)
        same = "" if also == why else f". There: {also}"
        raise VerifierError(f"{why}. Nor do they judge the initial workspace{same}")
    feedback = f"The tests gave no verdict on this work, but judge the initial workspace: {why}"
    return write_verdict(folder / "verifier", Reward(0.0, {"reward": 0.0}, feedback))


def run_tests(
    task: Task,
    workspace: Path,
    site: VerifierSite,
    start: Start,
    folder: Path,
    limits: Limits | None = None,
) -> Attempt:
    """Run the tests once, with what they start with. For the other arguments see :func:`judge`.

    Raises:
        SandboxError: the sandbox failed.
    """
    site.visits()  # Drops those of the previous verifier.
    reward, problem = None, ""
    try:
        reward = verify(task, workspace, site.sandbox, start, folder, limits)
    except VerifierError as error:
        problem = str(error)
    visits = site.visits()
    unreached = _unreached(visits)
    errors = folder / "verifier" / ERRORS
    whole = reward is None or reward.soft in (0.0, 1.0)
    if whole and errors.is_file():  # A part of the reward is given by tests that ran.
        printed = errors.read_text("utf-8", "replace")
        unreached |= _complaints(printed) | _no_runner(printed, task.instruction)
    reached = any(not visit.refused and not visit.failed for visit in visits)
    return Attempt(reward, problem, unreached, reached)


def _complaints(printed: str) -> dict[str, str]:
    """What programs of the tests said that they wanted, of which the proxy saw nothing. The agent's
    may say so too: that is why the initial workspace is asked."""
    found = ((what, pattern.search(printed)) for what, pattern in _COMPLAINTS.items())
    return {what: match[0].strip()[:200] for what, match in found if match}


def _no_runner(printed: str, instruction: str) -> dict[str, str]:
    """The first program that runs tests and that the image does not have."""
    for found in _RUNNER.finditer(printed):
        name = found[1] or found[2]
        if not re.search(rf"\b{name}\b", instruction):
            return {f"the program {name}": found[0].strip()[:200]}
    return {}


def _unreached(visits: Sequence[Visit]) -> dict[str, str]:
    """The hosts that were wanted and in the end not reached, each with the reason."""
    found = {f"{visit.host}:{visit.port}": visit.refused or visit.failed for visit in visits}
    return {host: why for host, why in found.items() if why}
