"""One rollout from task to result: workspace, agent, verifier. Knows no store and no retries."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harnesses.base import Budget, ModelSpec, MountMode, Outcome, Request, Status, Usage
from harnesses.harness import Harness, RolloutSite
from sandboxes.base import Limits, SandboxError, SandboxFactory
from sandboxes.images import AGENT_BASE_IMAGE
from sandboxes.trees import entries_below, remove_tree
from skillopt.core.files import to_json
from skillopt.core.types import Reward, Task
from skillopt.rollouts.store import Result, key_of, seed_of
from skillopt.tasks.environment import Environments
from skillopt.tasks.links import remove_outward_links
from skillopt.tasks.questions import judged
from skillopt.tasks.verifier import VerifierError, Verify, verify, verify_with

KEPT_BYTES = 5 * 1024 * 1024
"""Of the files that an agent changed, kept with the rollout for people to look at."""


@dataclass(frozen=True)
class Job:
    """A rollout to run."""

    task: Task
    skill: Path | None
    """Skill folder, named as the skill."""
    harness: Harness
    model: ModelSpec
    identity: dict[str, Any]
    limits: Limits
    budget: Budget
    verifier: Verify | None = None
    """The user's own in place of the task's tests."""
    mount: MountMode = "native"
    beside: tuple[Path, ...] = ()
    """Folders of other skills that the agent has too."""

    @property
    def key(self) -> str:
        return key_of(self.identity)

    def failed(self, message: str) -> Result:
        """The result where the rollout could not be run at all."""
        return Result(
            key=self.key,
            identity=self.identity,
            task=self.task.name,
            status=Status.INFRA_ERROR,
            message=message,
            reward=0.0,
            metrics={},
            feedback="",
            skill_activated=None,
            answer="",
            usage=Usage(),
            agent_version=self.harness.version(),
            duration_s=0.0,
        )


def run_job(
    job: Job, site: RolloutSite, environments: Environments, verifier: SandboxFactory, folder: Path
) -> Result:
    """Run one rollout.

    Args:
        job: what to run.
        site: where its agent runs.
        environments: gives the task's image and first workspace.
        verifier: makes the fresh sandbox in which the result is judged, after the agent's is gone.
        folder: exists, empty; trajectory, wire log, transcript, changed files land here.

    Returns:
        The result, of whatever status; raises only for programming errors.
    """
    scratch = folder / "scratch"
    workspace, before = scratch / "workspace", scratch / "before"
    try:
        if job.task.question:
            workspace.mkdir(parents=True)
            image, place = AGENT_BASE_IMAGE, None
        else:
            image, place = environments.prepare(job.task, workspace), workspace
        shutil.copytree(workspace, before, symlinks=True)
        outcome = job.harness.run(_request(job, image, place, folder, site.env), site)
        _keep_visits(site, folder)
        status, message, reward = outcome.status, outcome.message, Reward(0.0)
        if status is Status.COMPLETED:
            own = job.verifier is not None
            removed = remove_outward_links(workspace, job.task.workdir, programs=not own)
            if removed:
                message = "links out of the workspace were removed: " + ", ".join(removed[:5])
            if job.verifier is not None:
                reward = verify_with(job.verifier, job.task, workspace, outcome.answer)
            elif job.task.question:
                reward = judged(job.task, outcome.answer)
            else:
                reward = verify(job.task, workspace, verifier, image, folder)
    except (SandboxError, VerifierError) as error:
        return job.failed(f"{type(error).__name__}: {error}")
    else:
        _keep_changes(before, workspace, folder / "workspace")
        return _result(job, outcome, status, message, reward, folder)
    finally:
        remove_tree(scratch)


def _request(
    job: Job, image: str, workspace: Path | None, folder: Path, env: Mapping[str, str]
) -> Request:
    limits, task = job.limits, job.task
    return Request(
        id=job.key[:16],
        instruction=task.instruction,
        image=image,
        workspace=workspace,
        workdir=task.workdir,
        skill=job.skill,
        model=job.model,
        timeout_s=task.agent_timeout_s,
        limits=Limits(
            max(limits.memory_mb, task.memory_mb),
            max(limits.cpus, task.cpus),
            limits.pids,
            max(limits.disk_mb, task.disk_mb),
        ),
        budget=job.budget,
        seed=seed_of(job.key),
        env={**env, **dict(task.env)},
        record=folder,
        mount=job.mount,
        beside=job.beside,
        follow_ups=task.follow_ups,
    )


def _keep_visits(site: RolloutSite, folder: Path) -> None:
    """What the agent reached outside of its sandbox, or wished to: ``network.jsonl``."""
    visits = site.visits()
    if visits:
        lines = [json.dumps(asdict(visit), ensure_ascii=False) for visit in visits]
        (folder / "network.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def _result(
    job: Job, outcome: Outcome, status: Status, message: str, reward: Reward, folder: Path
) -> Result:
    if outcome.trajectory is not None:
        trajectory = to_json(outcome.trajectory.to_json_dict())
        (folder / "trajectory.json").write_text(trajectory, "utf-8")
    return Result(
        key=job.key,
        identity=job.identity,
        task=job.task.name,
        status=status,
        message=message,
        reward=reward.soft,
        metrics=reward.metrics,
        feedback=reward.feedback,
        skill_activated=outcome.skill_activated,
        answer=outcome.answer,
        usage=outcome.usage,
        agent_version=outcome.version,
        duration_s=outcome.duration_s,
        others_opened=outcome.others_opened,
    )


def _files(root: Path) -> Iterator[Path]:
    """Regular files below ``root``, relative; links and special files are passed over."""
    found = [Path(e.path) for e in entries_below(root) if e.is_file(follow_symlinks=False)]
    for file in sorted(found):
        yield file.relative_to(root)


def _keep_changes(before: Path, after: Path, target: Path) -> None:
    """Copy what the agent made or changed, as far as ``KEPT_BYTES`` go."""
    left = KEPT_BYTES
    for name in _files(after):
        new, old = after / name, before / name
        if old.is_file() and filecmp.cmp(old, new, shallow=False):
            continue
        size = new.stat().st_size
        if size > left:
            continue
        left -= size
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(new, target / name, follow_symlinks=False)
