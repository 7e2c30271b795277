"""From what is found to what is written: the choices of ``skillopt init``, and their check."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harnesses.agents.registry import CLI_AGENTS, NAMES
from harnesses.base import Usage
from skillopt.config.inputs import read_config
from skillopt.config.prices import money, price_table
from skillopt.config.schema import Config
from skillopt.core.skill import SKILL_FILE, SkillError, read_skill, slug
from skillopt.setup.drafting import Choices, config_text, placed, taken
from skillopt.setup.project import Project, look_at
from skillopt.setup.services import SERVICES, SIM, Machine, Service, look_around
from skillopt.setup.skills import FoundSkill, agents_of, find_skills
from skillopt.setup.tasks import SetupError, TaskChoice, choose_tasks
from skillopt.tasks.evals.reading import eval_files
from skillopt.training.plan import ROLLOUT_TOKENS, Plan
from skillopt.training.prepared import plan_training

FORMAT = 1
NO_ENVIRONMENT = "none"
_SHOWN = 20


@dataclass(frozen=True)
class Found:
    """What is on this machine."""

    here: Path
    skills: tuple[FoundSkill, ...]
    project: Project
    machine: Machine

    @property
    def environments(self) -> list[str]:
        """The files that tasks can start from."""
        return [str(one.path) for one in self.project.environments if not one.problem]

    def to_json(self) -> dict[str, Any]:
        """What was found, as ``--json`` prints it."""
        project, machine = self.project, self.machine
        return {
            "skills": [
                {"path": shown(one.path, self.here), "origin": one.origin, "agents": one.agents}
                for one in self.skills
            ],
            "languages": project.languages,
            "test_command": project.test_command,
            "environments": [
                {"path": str(one.path), "problem": one.problem} for one in project.environments
            ],
            "task_folders": [str(path) for path in project.tasks],
            "history": project.history,
            "agents": machine.agents,
            "keys": machine.keys,
            "logins": machine.logins,
        }


@dataclass(frozen=True)
class Setup:
    """What has been written.

    Args:
        choices: from which.
        files: that were written, in order.
        plan: of a training with it.
        baseline_tokens, baseline_cost: of the baseline; the cost in USD is None if it is unknown.
        notes: what else a user should know.
    """

    choices: Choices
    files: tuple[Path, ...]
    plan: Plan
    baseline_tokens: int
    baseline_cost: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What was written and what it costs, as ``--json`` prints it."""
        choices, plan, usage = self.choices, self.plan.to_json(), self.plan.usage
        return {
            "written": [str(path) for path in self.files],
            "config": str(choices.config),
            "skill": choices.skill,
            "tasks": {
                "source": choices.tasks.source,
                "count": choices.tasks.tasks,
                "left_out": choices.tasks.left_out,
                "judged": choices.tasks.judged,
                "split": plan["tasks"],
                "smallest_gain": plan["smallest_gain"],
            },
            "agent": choices.agent,
            "service": choices.service.name,
            "environment": choices.environment,
            "baseline": {"tokens": self.baseline_tokens, "usd": self.baseline_cost},
            "training": {
                "rollouts": plan["rollouts"], "tokens": plan["tokens"], "usd": usage.cost_usd,
            },
            "sent_to": choices.service.address,
            "notes": self.notes,
            "next": [shlex.join(choices.baseline), shlex.join(choices.training)],
        }  # fmt: skip


def look(here: Path) -> Found:
    """What is on this machine and in a project's folder, the current one.

    Raises:
        SetupError: there is no home to look at.
    """
    try:
        Path.home()
    except RuntimeError as error:
        raise SetupError("there is no home directory; set HOME") from error
    return Found(here, tuple(find_skills(here)), look_at(here), look_around())


def named_skill(found: Found, text: str) -> Path:
    """The skill that a user names: a folder, a Markdown file, or the name of one that was found.

    Raises:
        SkillError: there is none, or several.
    """
    path = Path(text)
    if path.name == SKILL_FILE and path.is_file():
        path = path.parent
    if path.exists():
        return path
    named = [one.path for one in found.skills if text in (one.name, one.path.name)]
    if len(named) == 1:
        return named[0]
    if named:
        places = ", ".join(shown(one, found.here) for one in named[:_SHOWN])
        raise SkillError(f"{text}: several skills have this name; name one by its path: {places}")
    raise SkillError(
        f"{text}: no such folder or file, and no skill of this name; {_there_are(found)}"
    )


def no_skill(found: Found) -> SkillError:
    """The error if none was named and none can be chosen."""
    if found.skills:
        return SkillError(f"which skill is to be trained? {_there_are(found)}")
    return SkillError(
        "no skill was found here, in the agents' folders of this project, in your home or in "
        "plugins: name the folder that has its SKILL.md"
    )


def likely_skill(found: Found) -> FoundSkill | None:
    """The skill that is meant if none is named: the first of the project's, those with eval files
    before; None if the project has none."""
    own = [one for one in found.skills if one.origin == "project"]
    return next((one for one in own if eval_files(str(one.path))), own[0] if own else None)


def pick_agent(found: Found, skill: Path, given: str | None) -> str | None:
    """The agent that uses a skill: the one that is named, or that finds it where it is; None if its
    place does not tell.

    Raises:
        SetupError: there is no such agent.
    """
    if given is not None:
        if given not in NAMES:
            raise SetupError(f"--agent {given}: not one of {', '.join(NAMES)}")
        return given
    return next(iter(agents_of(skill, found.here)), None)


def likely_service(found: Found, agent: str | None) -> Service:
    """The service of which a key is there, that of the agent's own protocol before; else the
    simulated model."""
    usable = found.machine.services
    return next((one for one in usable if one.agent == agent), (usable or [SERVICES[SIM]])[0])


def named_service(name: str) -> Service:
    """A service by its name; raises SetupError if there is none."""
    if name not in SERVICES:
        raise SetupError(
            f"--service {name}: not one of {', '.join(SERVICES)}; docs/models.md has the blocks of "
            "others to write into the config"
        )
    return SERVICES[name]


def chosen(
    found: Found,
    skill: Path,
    *,
    tasks: str | None,
    agent: str | None,
    service: Service,
    environment: str,
    output: Path | None,
) -> Choices:
    """All choices for a config. Nothing is written.

    Args:
        found: on this machine.
        skill: folder or file of the skill.
        tasks: value of ``--tasks``; None for what is there.
        agent: its name; None for the service's.
        service: of both models.
        environment: ``tasks.environment``; empty for none.
        output: the config; by default it has the skill's name.

    Raises:
        SkillError, TaskError: the skill or the tasks cannot be used.
        SetupError: the config is there already, or would become a part of the skill.
    """
    read = read_skill(skill)
    if skill.is_dir() and found.here.resolve().is_relative_to(skill.resolve()):
        above = skill.resolve().parent
        raise SetupError(
            f"{found.here}: is in the skill's own folder, of which the config and the runs would "
            f"become a part: go to {above}, or to your project, and name the skill there"
        )
    config = output or Path(f"{_run_name(slug(read.name))}.yaml")
    if config.exists() or config.is_symlink():
        raise taken(config)
    picked = choose_tasks(skill, found.project, tasks)
    others = [] if environment else found.environments
    known = [one for one in found.machine.agents if one in CLI_AGENTS]
    usual = service.agent if service.name != SIM else next(iter(known), service.agent)
    return Choices(
        config=config,
        name=_run_name(config.stem),
        skill=shown(skill, found.here),
        tasks=_relative(picked, found.here),
        agent=agent or usual,
        service=service,
        environment=environment,
        other_environments=tuple(others),
        test_command=found.project.test_command,
    )


def set_up(choices: Choices, found: Found) -> Setup:
    """Write a config and, if there are no tasks, examples; read them as ``train --dry-run`` does.

    Raises:
        SkillOptError: something cannot be used, or is there already. Nothing is then left behind.
    """
    files = {**choices.tasks.files, choices.config: config_text(choices)}
    with placed(files), TemporaryDirectory(prefix="skillopt-init-") as scratch:
        plan = plan_training(read_config(choices.config, {"runs": scratch}))
        config = read_config(choices.config)
    usage = _baseline(config, plan)
    return Setup(
        choices=choices,
        files=tuple(files),
        plan=plan,
        baseline_tokens=usage.prompt_tokens + usage.completion_tokens,
        baseline_cost=price_table(config).cost(config.target.name, usage),
        notes=tuple(_notes(choices, found, plan)),
    )


def shown(path: Path, here: Path) -> str:
    """A path as it is written: relative to the current folder if it is in there."""
    absolute = path.absolute()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def told(setup: Setup) -> list[str]:
    """What was set up, what it can show, what it costs and what is sent where, in lines."""
    choices, plan = setup.choices, setup.plan
    train, val, test = (plan.tasks[name] for name in ("train", "val", "test"))
    tokens = plan.usage.prompt_tokens + plan.usage.completion_tokens
    return [
        *(f"wrote {path}" for path in setup.files),
        f"skill: {choices.skill}, in {choices.agent}",
        f"tasks: {choices.tasks.source} ({choices.tasks.said}): {train} to learn from, {val} to "
        f"choose by, {test} for the test",
        plan.selection,
        plan.confirms,
        f"baseline: {2 * val} rollouts, about {setup.baseline_tokens / 1000:,.0f}k tokens, "
        f"{money(setup.baseline_cost)}",
        f"training: at most {plan.rollouts:,} rollouts, about {tokens / 1000:,.0f}k tokens, "
        f"{money(plan.usage.cost_usd)} (tokens are assumed: {plan.assumption})",
        sent(choices.service),
        *setup.notes,
    ]


def sent(service: Service) -> str:
    """What leaves this machine, and where to."""
    if not service.address:
        return "sent: nothing leaves this machine; the simulated model is in this process"
    return (
        f"sent to {service.address}: the tasks' instructions, the skill, what agents read and "
        "print in their containers, and their transcripts; nothing is sent elsewhere, and the key "
        f"in {service.key_env} goes there alone"
    )


def _baseline(config: Config, plan: Plan) -> Usage:
    """What no skill and the first version cost on the selection split."""
    prompt, completion = ROLLOUT_TOKENS.get(config.harness.name, ROLLOUT_TOKENS["codex"])
    count = 2 * plan.tasks["val"]
    return Usage(requests=6 * count, prompt_tokens=count * prompt,
                 completion_tokens=count * completion)  # fmt: skip


def _notes(choices: Choices, found: Found, plan: Plan) -> list[str]:
    notes = []
    if choices.tasks.left_out:
        notes.append(
            f"note: {choices.tasks.left_out} cases of {choices.tasks.source} have no check that "
            "decides them, and are left out"
        )
    if choices.tasks.judged:
        notes.append(
            f"note: {choices.service.optimizer} judges what {choices.tasks.source} says in words; "
            "it is unchecked until you compare it: 'skillopt tasks judge --labels'"
        )
    if choices.tasks.files:
        notes.append(
            f"note: no tasks were found: {choices.tasks.source}/ has two examples; "
            f"{_more_tasks(found.project)}"
        )
    if choices.service.name == SIM:
        keys = ", ".join(one.key_env for one in SERVICES.values() if one.key_env)
        notes.append(
            "note: the simulated model knows nothing of your tasks and solves next to none; for a "
            f"real one, set one of {keys}, or see docs/models.md"
        )
    for agent in found.machine.logins:
        notes.append(
            f"note: {agent} is logged in to a plan on this machine, which was not read: runs need "
            "an API key"
        )
    for one in found.project.environments:
        if one.problem:
            notes.append(f"note: {one.problem}")
    if plan.needed:
        notes += [f"note: {line}" for line in plan.needed.splitlines()]
    return notes


def _more_tasks(project: Project) -> str:
    """The ways to make more tasks, that which fits the project first."""
    ways = "eval files beside the skill and 'skillopt tasks from-jsonl' (docs/your-tasks.md)"
    if not project.history:
        return f"other ways are {ways}"
    return (
        "'skillopt tasks from-repo . repository-tasks' makes tasks of this repository's commits; "
        f"other ways are {ways}"
    )


def _run_name(text: str) -> str:
    """A text as the name of a run, which has plain letters only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "skill"


def _relative(tasks: TaskChoice, here: Path) -> TaskChoice:
    path = Path(tasks.source)
    source = shown(path, here) if path.exists() else tasks.source
    return replace(tasks, source=source)


def _there_are(found: Found) -> str:
    names: Sequence[str] = [shown(one.path, found.here) for one in found.skills]
    if not names:
        return "none was found here, in your home or in plugins"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"found: {', '.join(names[:_SHOWN])}{more}"
