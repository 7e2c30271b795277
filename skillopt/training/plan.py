"""Upper bounds for a run, from its config and the number of tasks: ``train --dry-run``.

Rollouts and calls are upper bounds; tokens and cost are based on assumptions that the plan states.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harnesses.base import Usage
from skillopt.config.loading import ConfigError
from skillopt.config.logins import login
from skillopt.config.prices import Prices
from skillopt.config.schema import Arm, Config, ModelConfig, SkillConfig
from skillopt.core.skill import Skill
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Split, Task, named_task
from skillopt.gates.auto import LARGE
from skillopt.gates.power import told_of_tasks, visible_gain
from skillopt.gates.race import most_rollouts
from skillopt.optimizer.memory import MEMORY_TOKENS
from skillopt.optimizer.pairs import PAIR_SHARE
from skillopt.run.spending import JUDGE
from skillopt.tasks.needs import count_needs
from skillopt.training.method import Estimate, Method
from skillopt.training.shown import FRAME_TOKENS, REPLY_TOKENS, trajectory_tokens
from skillopt.training.steps import StepPlan, plan_steps

ROLLOUT_TOKENS = {
    "direct": (8_000, 1_000),
    "codex": (60_000, 2_000),
    "claude-code": (120_000, 2_000),
    "opencode": (50_000, 2_000),
}
"""Assumed prompt and completion tokens of all requests of one rollout, with the agents' own prompts
(about 10,000, 20,000 and 8,000 tokens, measured) in about six requests."""

GATE_SHARE = {"fresh": 1.25}
"""Rollouts of a gate for each selection task and decision, if it is not 1: ``fresh`` takes 1.0 to
1.2 on average (docs/gates.md)."""
EDIT_SHARES = {"credit": 0.5, "prune": 0.25}
"""Defaults of ``train.credit`` and ``train.prune`` with the gate ``fresh`` (docs/gates.md)."""
BOUNDS = {
    "strict": "Upper bounds: the gate can stop early, and stored rollouts are free.",
    "fresh": "Upper bounds, but for the gate: close calls can take more than these, others take "
    "fewer. Stored rollouts are free.",
}
"""In which direction the numbers may be wrong, by gate."""

LEAST_LIMIT = 2000
ROOM = 1.25
"""The default limit for ``SKILL.md``: that many tokens, or the initial skill's times this."""


def token_limit(own: SkillConfig, initial: Skill | None) -> int:
    """The token limit for ``SKILL.md`` in a run.

    Args:
        own: the config's section.
        initial: the initial skill; None if the optimizer has not drafted it yet.
    """
    if own.max_tokens is not None:
        return own.max_tokens
    return max(LEAST_LIMIT, math.ceil(ROOM * estimate_tokens(initial.text)) if initial else 0)


def check_length(own: SkillConfig, initial: Skill | None) -> None:
    """Refuse a limit, set by hand, that the initial skill is over.

    Raises:
        ConfigError: it is, and nothing allows to shorten it.
    """
    tokens = estimate_tokens(initial.text) if initial else 0
    if own.max_tokens is not None and tokens > own.max_tokens and not own.compress:
        raise ConfigError(
            f"skill.max_tokens: {own.max_tokens} is less than the initial skill has (about "
            f"{tokens} tokens): raise it, leave it out for the default of "
            f"{token_limit(own.model_copy(update={'max_tokens': None}), initial)}, or set "
            "skill.compress: true to begin by shortening the skill"
        )


def told_of_length(own: SkillConfig, initial: Skill | None) -> str:
    """What the token limit does to the initial skill, in one line."""
    limit = token_limit(own, initial)
    if initial is None:
        return f"skill: at most {limit:,} tokens (skill.max_tokens)"
    tokens = estimate_tokens(initial.text)
    has = f"skill: about {tokens:,} tokens, at most {limit:,} (skill.max_tokens)"
    if tokens > limit:
        return f"{has}: it is longer than skill.max_tokens, and step 1 begins by shortening it"
    return f"{has}: nothing has to be shortened, and edits may add about {limit - tokens:,}"


def told_of_needs(config: Config, needs: Mapping[str, int]) -> str:
    """What the tasks need beyond an ordinary sandbox, in one line; empty if nothing.

    Args:
        config: says which of it they get.
        needs: from :func:`skillopt.tasks.needs.count_needs`.
    """
    network = config.sandbox.verifier_network
    reached = network if isinstance(network, str) else ", ".join(network)
    given = {
        "root": "root of their containers" + ("" if config.sandbox.root else " (not given)"),
        "hosts": f"hosts for their tests (sandbox.verifier_network: {reached})",
        "container": "the agent's whole container for their tests"
        + (" (not given)" if config.sandbox.handover == "workdir" else ""),
    }
    said = [f"{needs[name]} need {what}" for name, what in given.items() if needs[name]]
    if needs["own_skills"]:
        said.append(f"the skills that {needs['own_skills']} bring are left out")
    return f"tasks: {', '.join(said)}" if said else ""


def told_of_base(tasks: Sequence[Task]) -> list[str]:
    """Which image of ``tasks.environment`` how many tasks start from, and what its files say and
    has no effect, in lines."""
    bases = Counter(task.base for task in tasks if task.base is not None)
    return [
        line
        for base, count in bases.items()
        for line in (f"environment: {count} tasks start from {base.name}", *base.notes)
    ]


def told_of_claim(config: Config, splits: Mapping[Split, Sequence[Task]]) -> str:
    """Which gain the test split can confirm at the end, in one line."""
    tests = len({task.digest for task in splits["test"]}) if config.final.test else 0
    if not tests:
        return "at the end: no test tasks, so no gain can be confirmed (docs/statistics.md)"
    gain = visible_gain(tests)
    if gain is None:
        return f"at the end: {tests} test tasks are too few to confirm any gain"
    return (
        f"at the end: {tests} test tasks confirm a true gain of {100 * gain:.0f} points in 80 of "
        "100 runs, if no task is lost by chance; more is needed if some are"
    )


@dataclass(frozen=True)
class PlannedStage:
    """Upper bounds for one stage over the whole run."""

    stage: str
    rollouts: int
    calls: int
    usage: Usage
    """Expected usage; ``cost_usd`` is None if the price is not known."""


@dataclass(frozen=True)
class Plan:
    """Upper bounds for a whole run."""

    name: str
    epochs: int
    steps: int
    budgets: tuple[int | None, ...]
    """Edits that each step may make."""
    tasks: Mapping[str, int]
    stages: tuple[PlannedStage, ...]
    priced: str
    """Date of the price table."""
    assumption: str
    """The assumption behind the tokens of rollouts, in words."""
    bounds: str
    """In which direction the numbers may be wrong."""
    length: str
    """What the token limit does to the skill."""
    selection: str
    """What the selection split can show."""
    skill_tokens: int
    """The initial skill's estimated length; 0 if it is not known yet."""
    max_tokens: int
    """The token limit."""
    needs: Mapping[str, int]
    """How many tasks need what no ordinary sandbox has."""
    needed: str
    """The same in words; empty if none does."""

    confirms: str
    """Which gain the test split can confirm, in words."""
    judged: str = ""
    """What is known of the judge's agreement with people; empty without a judge."""

    @property
    def rollouts(self) -> int:
        return sum(stage.rollouts for stage in self.stages)

    @property
    def usage(self) -> Usage:
        return Usage.total(stage.usage for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """The plan as ``--json`` prints it."""
        stages = [
            {
                "stage": s.stage,
                "rollouts": s.rollouts,
                "calls": s.calls,
                "tokens": s.usage.prompt_tokens + s.usage.completion_tokens,
                "usd": s.usage.cost_usd,
                **({"included": True} if s.usage.included else {}),
            }
            for s in self.stages
        ]
        total = self.usage
        return {
            "name": self.name,
            "epochs": self.epochs,
            "steps": self.steps,
            "edit_budgets": self.budgets,
            "tasks": dict(self.tasks),
            "rollouts": self.rollouts,
            "tokens": total.prompt_tokens + total.completion_tokens,
            "usd": total.cost_usd,
            **({"included": True} if total.included else {}),
            "prices_of": self.priced,
            "skill_tokens": self.skill_tokens,
            "max_tokens": self.max_tokens,
            "needs": dict(self.needs),
            "confirms": self.confirms,
            **({"judge": self.judged} if self.judged else {}),
            "smallest_gain": visible_gain(self.tasks["val"]),
            "stages": stages,
        }


def make_plan(
    config: Config,
    splits: dict[Split, tuple[Task, ...]],
    method: Method,
    prices: Prices,
    initial: Skill | None = None,
) -> Plan:
    """The plan of a run. Nothing is run or requested.

    Args:
        config, splits: the run's.
        method: the training method.
        prices: the price table.
        initial: the initial skill; None if the optimizer drafts it.
    """
    limit = token_limit(config.skill, initial)
    every = [task for tasks in splits.values() for task in tasks]
    needs = count_needs(every)
    expected = method.estimate(config, sealed_splits(splits))
    counts: dict[str, int] = {name: len(tasks) for name, tasks in splits.items()}
    rollouts = rollouts_by_stage(config, splits, expected)
    tested = len(splits["test"]) if config.final.test else 0
    drafts = config.skill.init == "draft" or (tested and "draft" in test_arms(config, tested))
    calls = ({"draft": 1} if drafts else {}) | dict(expected.calls)
    if asked := _judge_calls(config, splits, rollouts):
        calls["judge"] = asked
    harness = _assumed(config)
    prompt, completion = ROLLOUT_TOKENS[harness]
    stages = tuple(
        PlannedStage(
            stage,
            rollouts.get(stage, 0),
            calls.get(stage, 0),
            _expected(config, stage, rollouts.get(stage, 0), calls.get(stage, 0), prices, limit),
        )
        for stage in dict.fromkeys([*rollouts, *calls])
    )
    return Plan(
        name=config.name,
        epochs=expected.epochs,
        steps=expected.steps,
        budgets=expected.budgets,
        tasks=counts,
        stages=stages,
        priced=prices.date.isoformat(),
        assumption=f"{prompt:,} and {completion:,} in one rollout of {harness}",
        bounds=BOUNDS.get(gate_kind(config, len(splits["val"])))
        or f"Upper bounds for one rollout a task; the gate {config.gate.kind} may run more or "
        "fewer. Stored rollouts are free.",
        length=told_of_length(config.skill, initial),
        selection=told_of_tasks(len(splits["val"])),
        skill_tokens=estimate_tokens(initial.text) if initial else 0,
        max_tokens=limit,
        needs=needs,
        needed="\n".join([*filter(None, [told_of_needs(config, needs)]), *told_of_base(every)]),
        confirms=told_of_claim(config, splits),
    )


def sealed_splits(splits: Mapping[Split, Sequence[Task]]) -> dict[Split, tuple[Task, ...]]:
    """The splits as a method may see them: of tasks that decide there is only the name."""
    return {
        split: tuple(tasks) if split == "train" else tuple(named_task(task.name) for task in tasks)
        for split, tasks in splits.items()
    }


def test_arms(config: Config, tests: int) -> tuple[Arm, ...]:
    """What is scored on the test split besides the run's own skills; a draft only if the run did
    not start from one."""
    drafted = config.skill.init == "draft"
    return tuple(arm for arm in config.final.arms_for(tests) if not (arm == "draft" and drafted))


def rollouts_by_stage(
    config: Config, splits: dict[Split, tuple[Task, ...]], expected: Estimate
) -> dict[str, int]:
    """The most rollouts of a whole run by stage, including those in the store."""
    found = {"baseline": len(splits["val"]), **dict(expected.rollouts)}
    if config.final.test:
        # The best skill is the final one, unless the gate's metric allows them to differ.
        tests = len(splits["test"])
        found["test"] = (2 + len(test_arms(config, tests))) * tests
    return found


def estimate(config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
    """Upper bounds for SkillOpt's loop."""
    train, val = config.train, len(splits["val"])
    steps = plan_steps(splits["train"], train, config.seed)
    # The meta skill is not asked for after the last epoch, as nothing would read it.
    ends = train.epochs - 1 if train.slow_update else max(train.epochs - 2, 0) * train.meta_skill
    gated = len(steps) + (train.epochs - 1 if train.slow_update else 0)
    decision = val * GATE_SHARE.get(gate_kind(config, val), 1)
    judged = math.ceil(gated * decision)
    rollouts = {"rollout": sum(plan.rollouts for plan in steps), "gate": judged}
    own = len(steps) * decision
    if train.ahead:
        rollouts["ahead"] = int(train.ahead * rollouts["rollout"])
    if train.candidates > 1:
        rollouts["race"] = len(steps) * most_rollouts(val, train.candidates)
    for kind in EDIT_SHARES:
        if share := edit_share(config, kind, val):
            rollouts[kind] = math.ceil(share * own)
    if ends:
        rollouts["pairs"] = ends * 2 * min(train.slow_tasks, len(splits["train"]))
    return Estimate(
        epochs=train.epochs,
        steps=len(steps),
        budgets=tuple(plan.budget for plan in steps),
        rollouts=tuple(rollouts.items()),
        calls=tuple(_calls(config, steps).items()),
    )


def edit_share(config: Config, kind: str, tasks: int) -> float:
    """How many rollouts judge single edits, as a share of those that judge the steps' changes.

    Args:
        config: the run's.
        kind: ``credit`` or ``prune``.
        tasks: of the selection split.
    """
    if config.train.update != "patch":
        return 0.0  # There are no single edits.
    own: float | None = getattr(config.train, kind)
    if own is None:
        return EDIT_SHARES[kind] if gate_kind(config, tasks) == "fresh" else 0.0
    return own


def gate_kind(config: Config, tasks: int) -> str:
    """The kind of gate that decides on so many tasks."""
    kind = config.gate.kind
    if kind != "auto":
        return kind
    large = config.gate.options.get("large", LARGE)
    return "fresh" if isinstance(large, int | float) and tasks < large else "strict"


def _calls(config: Config, steps: Sequence[StepPlan]) -> dict[str, int]:
    train = config.train
    # Failures and successes are split separately, which can need one more minibatch.
    reflections = [sum(-(-len(p) // train.minibatch) + 1 for p in plan.parts) for plan in steps]
    many, found = train.candidates, {"reflect": sum(reflections)}
    if train.only == "description":
        return {"reflect": 2 * many * sum(len(plan.parts) for plan in steps)}
    if train.update == "full_rewrite":
        found["reflect"] *= many
    else:
        found |= {"merge": many * sum(map(_merges, reflections)), "rank": many * len(steps)}
    found["apply"] = many * len(steps)
    ends = train.epochs - 1
    found |= {"slow": ends} if train.slow_update and ends else {}
    return found | ({"meta": ends} if train.meta_skill and ends else {})


def _merges(patches: int) -> int:
    """The number of calls that merge patches of two kinds into one, in groups of eight."""
    return -(-patches // 8) + 2 if patches > 1 else 0


def _judge_calls(
    config: Config, splits: dict[Split, tuple[Task, ...]], rollouts: Mapping[str, int]
) -> int:
    """The most calls of a judge: each rollout's, and one more if a verdict is in doubt."""
    tasks = [task for split in splits.values() for task in split]
    worded = sum(bool(task.expectations or task.expected_output) for task in tasks)
    if config.judge is None or not worded:
        return 0
    return math.ceil(2 * sum(rollouts.values()) * worded / len(tasks))


def _expected(
    config: Config, stage: str, rollouts: int, calls: int, prices: Prices, limit: int
) -> Usage:
    if stage == JUDGE and config.judge is not None:
        shown = calls * (FRAME_TOKENS + config.judge.evidence_tokens)
        usage = Usage(calls, shown, 0, calls * REPLY_TOKENS)
        return _priced(usage, prices, config, config.judge)
    asked = calls * (FRAME_TOKENS + limit + MEMORY_TOKENS + _material(config, stage, limit))
    optimizer = Usage(calls, asked, 0, calls * REPLY_TOKENS)
    own = _priced(optimizer, prices, config, config.optimizer) if calls else Usage(cost_usd=0.0)
    return Usage.total([rollout_usage(config, rollouts, prices), own])


def rollout_usage(config: Config, rollouts: int, prices: Prices) -> Usage:
    """The tokens and the cost that are assumed for some rollouts.

    Args:
        config: names harness and model.
        rollouts: how many.
        prices: the price table.
    """
    if not rollouts:
        return Usage(cost_usd=0.0)
    prompt, completion = ROLLOUT_TOKENS[_assumed(config)]
    # The least number of requests: prices depend on how long the prompt of one is.
    target = Usage(rollouts, rollouts * prompt, 0, rollouts * completion)
    return _priced(target, prices, config, config.target)


def _priced(usage: Usage, prices: Prices, config: Config, model: ModelConfig) -> Usage:
    included = bool(login(config, model.upstream))
    cost = 0.0 if included else prices.cost(model.name, usage)
    tokens = Usage(0, usage.prompt_tokens, 0, usage.completion_tokens, cost)
    return replace(tokens, included=included)


def _assumed(config: Config) -> str:
    """The harness whose tokens are assumed; Codex's are assumed for a user's own."""
    return config.harness.name if config.harness.name in ROLLOUT_TOKENS else "codex"


def _material(config: Config, stage: str, limit: int) -> int:
    tokens = trajectory_tokens(config, limit)
    if stage == "reflect":
        return config.train.minibatch * tokens
    if stage in ("slow", "meta"):
        return round(config.train.slow_tasks * PAIR_SHARE * tokens)
    return config.train.merge_batch * 300
