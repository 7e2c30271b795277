"""One rollout from task to result: workspace, agent, verifier. Knows no store and no retries.

The agent's work is stored before it is judged, so that a failing verifier can be repaired and run
again on the same work.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harnesses.base import Budget, ModelSpec, MountMode, Openings, Outcome, Request, Status, Usage
from harnesses.companion import Companion
from harnesses.harness import Harness, RolloutSite
from sandboxes.base import Limits, SandboxError
from sandboxes.disk import SMALLEST_ENTRY
from sandboxes.trees import entries_below, remove_tree, shown_name
from skillopt.core.files import read_json, to_json, write_atomic
from skillopt.core.import_path import own_code
from skillopt.core.judgement import Judgement
from skillopt.core.text import expressible
from skillopt.core.types import Reward, Rollout, Task
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.judge.asking import Judge, JudgeError, JudgeSpec
from skillopt.rollouts.judge.scoring import judged_by_words
from skillopt.rollouts.kept_work import keep_nothing, keep_work, restore_work, snapshot, why_not
from skillopt.rollouts.store import OUTCOME
from skillopt.tasks.environment import Environments, given, handed_image
from skillopt.tasks.finishing import finish
from skillopt.tasks.harbor import has_tests
from skillopt.tasks.judging import VerifierSite, judge
from skillopt.tasks.links import clean_workspace
from skillopt.tasks.questions import judged
from skillopt.tasks.triggers import opened_reward
from skillopt.tasks.verifier import VerifierError, Verify, task_limits, verify_with

KEPT_BYTES = 5 * 1024 * 1024
"""The most bytes of changed files that are kept with the rollout for people to read."""
REMOVED = "removed from the workspace (pipes, unreadable entries, links that lead out of it)"
"""Begins the message of a completed rollout whose workspace had such entries."""
LEFT_OUT = "left_out.txt"
"""File in a rollout's folder that names changed files which could not be kept."""
COPIED_BYTES = 256 * 1024 * 1024
"""The most bytes of a workspace that is judged on a copy; a larger one is judged itself, once."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A rollout to run. Everything in it is plain data, apart from the user's own parts."""

    task: Task
    skill: Path | None
    """Skill folder, named as the skill."""
    harness: Harness
    model: ModelSpec
    identity: RolloutIdentity
    limits: Limits
    budget: Budget
    verifier: Verify | None = None
    """The user's own verifier, which replaces the task's tests."""
    mount: MountMode = "native"
    beside: tuple[Path, ...] = ()
    """Folders of the agent's other skills."""
    openings: Openings | None = None
    """When it is over, if the task only asks which skills are opened."""
    judge: JudgeSpec | None = None
    """Who judges the task's expectations; None if it has none, or nobody does."""

    @property
    def key(self) -> str:
        return self.identity.key

    def failed(self, message: str, folder: Path) -> Rollout:
        """The rollout if it could not be run or judged, with the agent's usage so far."""
        used = _read_outcome(folder) if (folder / OUTCOME).is_file() else None
        return Rollout(
            key=self.key,
            identity=self.identity.to_json(),
            task=self.task,
            status=Status.INFRA_ERROR,
            message=message,
            usage=used.usage if used else Usage(),
            duration_s=used.duration_s if used else 0.0,
            service_s=used.service_s if used else 0.0,
            agent_version=self.harness.version(),
            folder=folder,
        )


def run_job(
    job: Job,
    site: RolloutSite,
    environments: Environments,
    verifier: VerifierSite,
    folder: Path,
) -> Rollout:
    """Run one rollout.

    Args:
        job: what to run.
        site: where its agent runs.
        environments: provides the task's image and first workspace.
        verifier: where the result is judged, in a fresh sandbox, after the agent's is gone.
        folder: an existing folder; empty, or with the agent's outcome and work from an earlier
            attempt, which is then judged again: its workspace, or what
            :mod:`skillopt.rollouts.kept_work` keeps of it. Trajectory, wire log, transcript and
            changed files are written here.

    Returns:
        The rollout, with any status.

    Raises:
        OwnCodeError: the user's own verifier or harness raised.
    """
    workspace, handed = folder / "scratch" / "workspace", ""
    try:
        job = replace(job, task=environments.settled(job.task))
        hands_over = job.task.handover and job.verifier is None
        handed = handed_image(job.key) if hands_over else ""
        remove_tree(folder / "verifier")  # From an earlier attempt.
        if (folder / OUTCOME).is_file() and (workspace.is_dir() or not why_not(folder)):
            handed = ""
            image, outcome = _kept(job, environments, folder, workspace)
        else:
            image, outcome = _act(job, site, environments, folder, handed)
        rollout = _rollout(job, outcome, folder)
        if job.openings is not None:
            rollout = rollout.model_copy(update={"reward": _by_openings(job, outcome)})
        elif outcome.status is Status.COMPLETED:
            judged_on = _copy_to_judge(workspace, folder)
            reward = _judge(job, outcome, judged_on, verifier, environments, image, folder, handed)
            if job.judge is not None:
                asked = Judge(job.judge, site.gateway, folder)
                rollout = judged_by_words(
                    rollout, reward, asked, environments, workspace, job.skill
                )
            else:
                rollout = rollout.model_copy(update={"reward": reward})
        remove_tree(folder / "scratch")
        (folder / OUTCOME).unlink(missing_ok=True)
    except (SandboxError, VerifierError, OSError, UnicodeError) as error:
        # The last two: whatever the file system answers to what an agent left is a failure of this
        # rollout. That of a full disk stops the run, see RolloutStore.check_room.
        failed = _failed(job, site, folder, error)
        if handed:
            (folder / OUTCOME).unlink(missing_ok=True)
        return failed
    finally:
        if handed:
            _discard(environments, handed)
    return rollout


def _kept(
    job: Job, environments: Environments, folder: Path, workspace: Path
) -> tuple[str, Outcome]:
    """The image and the outcome of an earlier attempt, whose work is in the workspace then."""
    outcome = _read_outcome(folder)
    image = environments.image(job.task)
    if not workspace.is_dir():
        environments.prepare(job.task, workspace)
        restore_work(folder, workspace)
    return image, outcome


def _failed(job: Job, site: RolloutSite, folder: Path, error: Exception) -> Rollout:
    """The rollout that an error has ended."""
    kept = folder / "verifier"
    see = f"; see {kept}" if isinstance(error, VerifierError) and kept.is_dir() else ""
    what = site.gateway.scrubber.text(f"{type(error).__name__}: {error}{see}")
    failed = job.failed(what, folder)
    if isinstance(error, JudgeError) and job.judge is not None:
        spent = Judgement(model=job.judge.model.name, usage=error.usage)
        failed = failed.model_copy(update={"judgement": spent})
    return failed


def _discard(environments: Environments, image: str) -> None:
    try:
        environments.discard(image)
    except SandboxError as error:  # The next start of the engine's cleaning removes it.
        _LOG.warning("%s", error)


def _act(
    job: Job, site: RolloutSite, environments: Environments, folder: Path, handed: str
) -> tuple[str, Outcome]:
    """Let the agent work, and store its work: but for a container that is handed over, which is
    judged at once or never."""
    workspace = folder / "scratch" / "workspace"
    if job.task.question and job.task.workspace is None:
        workspace.mkdir(parents=True)
        image, place = environments.image(job.task), None
    else:
        image, place = environments.prepare(job.task, workspace), workspace
    before = snapshot(workspace)
    request = replace(_request(job, image, place, folder, site.env), keep_as=handed)
    with _without_secrets(site, workspace):
        running = own_code(f"harness {job.harness.name}", job.harness)
        with _companion(job.task, folder) as companion, running:
            outcome = job.harness.run(replace(request, companion=companion), site)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"it returned {outcome!r}; return an Outcome")
        _keep_visits(site, folder)
        if outcome.trajectory is not None:
            trajectory = to_json(outcome.trajectory.to_json_dict())
            (folder / "trajectory.json").write_text(trajectory, "utf-8")
        own = (job.verifier or job.task.verify) is not None
        removed = clean_workspace(workspace, job.task.workdir, programs=not own)
    if removed and outcome.status is Status.COMPLETED:
        more = f" and {len(removed) - 5} more" if len(removed) > 5 else ""
        what = f"{REMOVED}: {', '.join(removed[:5])}{more}"
        outcome = replace(outcome, message=site.gateway.scrubber.text(what))
    altered = before.altered(workspace)
    _keep_changes(altered, workspace, folder / "workspace")
    if handed:
        keep_nothing(folder, "its verifier gets the agent's whole container, which is not kept")
    elif outcome.status is Status.COMPLETED:
        keep_work(before, workspace, altered, folder)
    if outcome.status is Status.COMPLETED:
        keep_outcome(outcome, folder)
    return image, outcome


@contextmanager
def _without_secrets(site: RolloutSite, workspace: Path) -> Iterator[None]:
    """Take secrets that the agent's sandbox has out of a workspace, however the work in it ends."""
    try:
        yield
        site.gateway.scrubber.folder(workspace)
    except BaseException:
        if site.gateway.scrubber:  # Some of it may not even be readable, and all is done again.
            remove_tree(workspace)
        raise


@contextmanager
def _companion(task: Task, folder: Path) -> Iterator[Companion | None]:
    """The companion of one rollout, which is always closed at its end."""
    if task.companion is None:
        yield None
        return
    with own_code(f"the companion of task {task.name}", task.companion):
        companion = _ClosedOnce(task.companion(folder))
    try:
        yield companion
    finally:
        companion.close()


class _ClosedOnce:
    """A companion that a harness may have closed already, or never used."""

    def __init__(self, companion: Companion) -> None:
        self._companion = companion
        self._lock = threading.Lock()
        self._closed = False

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._companion.reply(message)

    def close(self) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._companion.close()


def _read_outcome(folder: Path) -> Outcome:
    """The outcome that :func:`_act` has stored; the trajectory is in the folder already."""
    values = read_json(folder / OUTCOME, format=1)
    values.pop("format")
    values |= {"status": Status(values["status"]), "usage": Usage(**values["usage"])}
    return Outcome(**values | {"others_opened": tuple(values["others_opened"])})


def read_usage(folder: Path) -> Usage | None:
    """What the agent has used whose outcome waits to be judged; None if none does."""
    try:
        return _read_outcome(folder).usage
    except FileNotFoundError:
        return None


def _copy_to_judge(workspace: Path, folder: Path) -> Path:
    """A copy of the agent's work for the verifier, whose tests may change files: if they fail, the
    work is still as the agent left it. The work itself if it cannot be copied."""
    target = folder / "scratch" / "judged"
    remove_tree(target)
    try:
        size = sum(entry.stat(follow_symlinks=False).st_size for entry in entries_below(workspace))
        if size <= COPIED_BYTES:
            shutil.copytree(workspace, target, symlinks=True)
            return target
    except (OSError, shutil.Error):
        remove_tree(target)
    (folder / OUTCOME).unlink(missing_ok=True)
    return workspace


def _judge(
    job: Job,
    outcome: Outcome,
    workspace: Path,
    verifier: VerifierSite,
    environments: Environments,
    image: str,
    folder: Path,
    handed: str,
) -> Reward | None:
    """The verdict of the task's own checks; None if it has none."""
    own = job.verifier or job.task.verify
    limits = task_limits(job.task, job.limits)
    if job.task.answer_file:
        _place_answer(workspace / job.task.answer_file, outcome.answer)
    if own is not None:
        finish(job.task, workspace, verifier, environments, image, folder, limits)
        return verify_with(own, job.task, workspace, outcome.answer, folder)
    if job.task.question:
        return judged(job.task, outcome.answer)
    if job.judge is not None and not has_tests(job.task):
        return None
    return judge(job.task, workspace, verifier, environments, image, folder, limits, handed)


def _by_openings(job: Job, outcome: Outcome) -> Reward:
    """The verdict on which skills were opened."""
    assert job.openings is not None, "only such tasks are scored by openings"
    opened = [*outcome.others_opened]
    if job.skill is not None and outcome.skill_activated:
        opened.append(job.skill.name)
    if outcome.status is not Status.COMPLETED:
        return Reward(0.0)
    return opened_reward(job.openings, opened, job.skill.name if job.skill else None)


def _place_answer(file: Path, answer: str) -> None:
    """Write the answer where the tests look for it, instead of what the agent left there."""
    if file.is_dir() and not file.is_symlink():
        remove_tree(file)
    file.unlink(missing_ok=True)
    file.write_text(answer, "utf-8", "replace")


def _request(
    job: Job, image: str, workspace: Path | None, folder: Path, env: Mapping[str, str]
) -> Request:
    task = job.task
    return Request(
        id=job.key[:16],
        instruction=task.instruction,
        image=image,
        workspace=workspace,
        workdir=task.workdir,
        skill=job.skill,
        model=job.model,
        timeout_s=task.agent_timeout_s,
        limits=task_limits(task, job.limits),
        budget=job.budget,
        seed=job.identity.seed,
        env={**env, **dict(task.env)},
        record=folder,
        mount=job.mount,
        beside=job.beside,
        follow_ups=task.follow_ups,
        question=task.question,
        pictures=task.pictures,
        led=task.led,
        max_turns=task.max_turns,
        root=task.root,
        folders=task.folders,
        openings=job.openings,
    )


def _keep_visits(site: RolloutSite, folder: Path) -> None:
    """Write what the agent reached outside its sandbox, or tried to, to ``network.jsonl``."""
    visits = site.visits()
    if visits:
        lines = [json.dumps(asdict(visit), ensure_ascii=False) for visit in visits]
        (folder / "network.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


_SAME = ("status", "message", "answer", "usage", "skill_activated", "duration_s", "service_s",
         "others_opened")  # fmt: skip
"""What a rollout has of its agent's outcome by the same name."""


def _rollout(job: Job, outcome: Outcome, folder: Path) -> Rollout:
    return Rollout(
        key=job.key,
        identity=job.identity.to_json(),
        given=given(job.task),
        task=job.task,
        agent_version=outcome.version,
        folder=folder,
        **{name: getattr(outcome, name) for name in _SAME},
    )


def outcome_of(rollout: Rollout) -> Outcome:
    """The agent's outcome in a rollout, without the trajectory."""
    same = {name: getattr(rollout, name) for name in _SAME}
    return Outcome(trajectory=None, version=rollout.agent_version, **same)


def keep_outcome(outcome: Outcome, folder: Path) -> None:
    """Store an outcome, which is then judged instead of running the agent again. The trajectory is
    in the folder already."""
    message, answer = expressible(outcome.message), expressible(outcome.answer)
    kept = asdict(replace(outcome, trajectory=None, message=message, answer=answer))
    write_atomic(folder / OUTCOME, to_json({"format": 1, **kept}))


def _keep_changes(altered: Iterable[str], after: Path, target: Path) -> None:
    """Copy files that the agent created or changed, up to ``KEPT_BYTES``. Those that cannot be
    copied, because their names are too long below ``target``, are named in ``LEFT_OUT``."""
    left, out = KEPT_BYTES, []
    for name in sorted(map(Path, altered)):
        new = after / name
        size = max(new.stat().st_size, SMALLEST_ENTRY)
        if size > left:
            continue
        left -= size
        try:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new, target / name, follow_symlinks=False)
        except OSError as error:
            out.append(f"{shown_name(str(name))}: {error.strerror}\n")
    if out:
        (target.parent / LEFT_OUT).write_text("".join(out), "utf-8")
