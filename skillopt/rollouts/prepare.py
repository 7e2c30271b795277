"""Everything that a command needs to run rollouts, read and checked before anything starts.

``train``, ``--dry-run``, ``eval``, ``transfer``, ``watch`` and ``demo`` share it: what one of them
refuses, all refuse, and a user's own harness, verifier or limit applies to all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harnesses.agents.registry import CLI_AGENTS, NAMES, check_backend, make_harness
from harnesses.base import Usage
from harnesses.gateway.plan_upstreams import CONTAINER_HOLDS_TOKEN
from sandboxes.errors import BackendError
from sandboxes.registry import BACKENDS, traits_of
from skillopt.config.inputs import initial_skill, skills_beside
from skillopt.config.loading import ConfigError
from skillopt.config.logins import check_program, login, models
from skillopt.config.prices import Prices, price_table
from skillopt.config.schema import AllConfig, Config, SpendingConfig, SpentConfig, StopConfig
from skillopt.core.import_path import check
from skillopt.core.skill import Skill
from skillopt.core.skill_rules import check_loaded, check_names
from skillopt.core.types import Split, Task
from skillopt.rollouts.executors import check_executor
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.settings import make_judge
from skillopt.rollouts.plugins import Plugins, identities, load_plugins
from skillopt.rollouts.runner import RolloutRunner
from skillopt.rollouts.upstreams import check_upstream
from skillopt.run.events import Listener
from skillopt.run.spending import Meter
from skillopt.tasks.finishing import check_images
from skillopt.tasks.folders import check_folders
from skillopt.tasks.harbor import Scored, TaskError, only_triggers
from skillopt.tasks.sources import hold_out, load_splits

MAX_PROMPT_BYTES = 127 * 1024
"""What an agent's program is given as an argument, of which Linux allows 128 KiB
(``MAX_ARG_STRLEN``, execve(2))."""
Splits = dict[Split, tuple[Task, ...]]


@dataclass(frozen=True)
class Prepared:
    """A config with all that it refers to.

    Args:
        config: as it was read.
        plugins: the user's own parts, loaded.
        splits: the tasks by split.
        whole: the same before selection tasks were held out; None if none were.
        judge: who judges expectations in words; None if nobody does.
        beside: the agent's other skills.
        prices: the price table.
        meter: counts what is spent, against the config's limits.
    """

    config: Config
    plugins: Plugins
    splits: Splits
    beside: tuple[Skill, ...]
    prices: Prices
    meter: Meter
    whole: Splits | None = None
    judge: JudgeSpec | None = None

    @property
    def parts(self) -> dict[str, str]:
        """What identifies the user's own parts now; their values may change while they are used."""
        return identities(self.config, self.plugins)

    def runner(self, listener: Listener) -> RolloutRunner:
        """A runner for rollouts, not entered yet."""
        return RolloutRunner(self, listener)


def prepare(
    config: Config,
    *,
    plugins: Plugins = Plugins(),
    needs: Sequence[Split] = (),
    harnesses: Sequence[str] = (),
    meter: Meter | None = None,
) -> Prepared:
    """Read and check what a config refers to. Nothing is started, requested or written, except
    task sets that this project generates.

    Args:
        config: the config to prepare.
        plugins: objects that replace what it names.
        needs: splits that must have tasks.
        harnesses: names of harnesses that will be run besides the config's own.
        meter: has counted earlier spending; by default a new one.

    Raises:
        ConfigError, TaskError, SkillError, PluginError, BackendError: unusable input.
    """
    loaded = load_plugins(config, plugins)
    judge = make_judge(config, identities(config, loaded))
    own, made = loaded.verifier is not None, config.runs / "tasks"
    scored = Scored(verifier=own, judge=judge is not None)
    splits = load_splits(config.tasks, config.split_seed, made, given=loaded.tasks, scored=scored)
    whole, final = splits, config.final
    splits = hold_out(splits, final.held_out if final.test else 0.0, config.split_seed)
    for split in needs:
        if not splits[split]:
            raise TaskError(_without_tasks(config, splits, split))
    _check_sandbox(config, splits)
    _check_harnesses(config, loaded, harnesses)
    _check_prompts(config, splits, loaded, harnesses)
    if not own:
        _check_triggers(config, splits, harnesses or (config.harness.name,))
    check_executor(config)
    for name, upstream in config.upstreams.items():
        check_upstream(name, upstream)
    _check_plan(config, loaded, splits, harnesses)
    beside = skills_beside(config)
    for name in (config.harness.name, *harnesses):
        for skill in beside:
            check_loaded(skill, name)
    prices = price_table(config)
    _check_prices(config, prices)
    return Prepared(
        config=config,
        plugins=loaded,
        splits=splits,
        beside=beside,
        prices=prices,
        meter=meter or Meter(config.limits),
        whole=None if splits == whole else whole,
        judge=judge,
    )


def prepared_skill(config: Config) -> Skill | None:
    """The skill that training starts from, checked against the agent's other skills; None if the
    optimizer drafts it.

    Raises:
        SkillError: it cannot be used, the agent would not load it, or it has the name of one of
            ``skill.beside``.
    """
    skill = initial_skill(config)
    check_names(skills_beside(config), skill or Skill(config.skill.name, "", ""))
    if skill is not None:
        check_loaded(skill, config.harness.name, config.harness.mount)
    return skill


def _check_sandbox(config: Config, splits: Splits) -> None:
    """Raise if the sandboxes are not there, or cannot hold a task."""
    kind = config.sandbox.kind
    check(BACKENDS.get(kind, kind), "sandbox.kind", "sandbox")
    if kind in BACKENDS:
        traits = traits_of(kind)
        if config.tasks.environment and not traits.images:
            raise BackendError(
                f"tasks.environment: {traits.name!r} sandboxes run no images: set sandbox.kind to "
                "docker, or remove it"
            )
        for task in (task for tasks in splits.values() for task in tasks):
            check_folders(task, traits)
            check_images(task, traits)


def _check_harnesses(config: Config, plugins: Plugins, others: Sequence[str]) -> None:
    """Raise if the config's harness or one of the others cannot be made, or not in the sandbox."""
    own, kind = config.harness, config.sandbox.kind
    for name in others:
        if name not in (*NAMES, own.name):
            raise ConfigError(
                f"harness {name!r} is not one of {', '.join(NAMES)}{_nearest(name, NAMES)}"
            )
    if plugins.harness is None:
        make_harness(own.name, own.version, own.options, own.mode).version()
    for name in (*others, *([own.name] if plugins.harness is None else [])):
        if name in CLI_AGENTS and kind in BACKENDS:
            check_backend(name, traits_of(kind))


def _check_prompts(config: Config, splits: Splits, plugins: Plugins, others: Sequence[str]) -> None:
    """Raise TaskError if an instruction is longer than an agent's program can be given."""
    own = [config.harness.name] if plugins.harness is None else []
    programs = [name for name in (*own, *others) if name in CLI_AGENTS]
    for task in (task for tasks in splits.values() for task in tasks):
        texts = (task.instruction, *task.follow_ups)
        size = max(len(text.encode("utf-8", "replace")) for text in texts)
        if programs and size > MAX_PROMPT_BYTES:
            raise TaskError(
                f"task {task.name}: its instruction has {size:,} bytes, and {programs[0]} can be "
                f"given {MAX_PROMPT_BYTES:,}: put the long part into a file of the task's "
                "environment, leave the task out (tasks.exclude), or use the harness direct"
            )


def _check_triggers(config: Config, splits: Splits, harnesses: Sequence[str]) -> None:
    """Raise if tasks that ask for openings would be run where no skill is opened."""
    task = next(filter(only_triggers, (t for tasks in splits.values() for t in tasks)), None)
    if task is None:
        return
    what = f"{config.tasks.source}: task {task.name} asks whether a skill is opened"
    if "direct" in harnesses:
        raise ConfigError(
            f"harness.name: direct: {what}, and direct chat opens none: it always has the skill; "
            f"use {', '.join(CLI_AGENTS)}, or set tasks.options.triggers: leave_out for eval files"
        )
    if config.harness.mount != "native":
        raise ConfigError(
            f"harness.mount: {config.harness.mount}: {what}, and with this mount the agent always "
            "has it; set native"
        )


def _check_plan(config: Config, plugins: Plugins, splits: Splits, others: Sequence[str]) -> None:
    """Raise if an agent may not use the plan of the target's upstream, or not with these tasks."""
    if login(config, config.target.upstream) != "claude-plan":
        return
    own = "" if plugins.harness is not None else config.harness.name
    try:
        for name in (own, *others):
            check_program(config, name, "harness")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    handed = next((t for tasks in splits.values() for t in tasks if t.handover), None)
    if handed is not None and config.sandbox.handover != "workdir":
        raise ConfigError(
            f"task {handed.name}: its tests look at the agent's whole container; "
            f"{CONTAINER_HOLDS_TOKEN}: leave the task out (tasks.exclude), set sandbox.handover: "
            "workdir, or use an API key (key_env)"
        )


def _check_prices(config: Config, prices: Prices) -> None:
    """Raise ConfigError if there is a limit on money and a model has no price."""
    limits = [config.limits, *config.limits.stages.values(), *_spent_conditions(config.stop)]
    if all(limit.usd is None for limit in limits):
        return
    for _, used in models(config):
        model = used.name
        if not login(config, used.upstream) and prices.cost(model, Usage()) is None:
            where = config.prices or "configs/prices.yaml"
            raise ConfigError(
                f"{where}: no price for {model!r}, which a limit in usd needs: add one to a "
                "copy of it and name that in prices:"
            )


def _spent_conditions(conditions: Sequence[StopConfig]) -> Iterator[SpendingConfig]:
    for condition in conditions:
        if isinstance(condition, AllConfig):
            yield from _spent_conditions(condition.of)
        elif isinstance(condition, SpentConfig):
            yield condition


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _without_tasks(config: Config, splits: Splits, split: Split) -> str:
    """What to do about a split without tasks."""
    counts = ", ".join(f"{name} {len(tasks)}" for name, tasks in splits.items())
    cut = ":".join(map(str, config.tasks.split))
    return (
        f"{config.tasks.source}: the {split} split has no tasks ({counts}): add some, or, if the "
        f"folder has no splits of its own, change tasks.split (now {cut})"
    )
