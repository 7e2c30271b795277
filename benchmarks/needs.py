"""What a real run of a cell of the paper's table needs: rollouts, tokens and money, as an estimate.

The rollouts are those of ``skillopt train --dry-run`` with the paper's splits, which are upper
bounds. The tokens of a rollout are assumed, except for what an agent itself adds to each request,
which is measured in ``cells.json``.
"""

from __future__ import annotations

from dataclasses import dataclass

from harnesses.base import Usage
from skillopt.config.inputs import read_config
from skillopt.config.prices import price_table
from skillopt.core.types import Split, Task, named_task
from skillopt.tasks.benchmarks.prepare import benchmark
from skillopt.training.method import make_method
from skillopt.training.plan import make_plan


@dataclass(frozen=True)
class Load:
    """What is assumed of one rollout with a real model.

    Args:
        prompt: tokens of the task's own prompt, pictures included, at the limits of its options.
        requests: of direct chat, which answers questions without tools in one.
        agent_requests: of an agent; it reads the skill, and a picture, first.
        growth: tokens that each request adds to the next one's prompt.
        completion: tokens of a reply, reasoning included.
    """

    prompt: int
    requests: int
    agent_requests: int
    growth: int
    completion: int


LOADS = {
    "searchqa": Load(1_600, 1, 2, 300, 300),  # 6,000 characters of snippets.
    "docvqa": Load(1_600, 1, 3, 1_500, 300),  # A page is about 1,500 tokens; vendors differ.
    "livemath": Load(700, 1, 2, 300, 3_000),
    "alfworld": Load(500, 25, 27, 250, 150),  # Direct chat plays by prompts that do not grow.
    "officeqa": Load(20_500, 8, 8, 1_500, 400),  # 80,000 characters of pages.
    "spreadsheetbench": Load(1_500, 10, 10, 700, 600),
}


@dataclass(frozen=True)
class Need:
    """What a run needs.

    Args:
        training, test: rollouts until the skill is chosen, and of its final scores.
        tokens: of target and optimizer.
        usd: their cost if nothing is cached, and if the service caches what it has read of a
            rollout already; None if the price is not known.
    """

    training: int
    test: int
    tokens: int
    usd: tuple[float, float] | None


def need(name: str, harness: str, own_prompt: float) -> Need:
    """What a run of a benchmark's config needs.

    Args:
        own_prompt: tokens that the agent's own prompt adds to each request, measured.
    """
    config = read_config(f"{name}/{harness}")
    tasks: dict[Split, tuple[Task, ...]] = {
        split: tuple(map(named_task, ids)) for split, ids in benchmark(name).splits.items()
    }
    prices = price_table(config)
    plan = make_plan(config, tasks, make_method(config.method), prices)
    rollouts = {stage.stage: stage.rollouts for stage in plan.stages}
    optimizer = Usage.total(stage.usage for stage in plan.stages if stage.calls)
    fresh, cached = (target(LOADS[name], harness, own_prompt, cached=c) for c in (False, True))
    costs = [prices.cost(config.target.name, usage) for usage in (fresh, cached)]
    usd = None
    if costs[0] is not None and costs[1] is not None and optimizer.cost_usd is not None:
        uncached, least = (plan.rollouts * cost + optimizer.cost_usd for cost in costs if cost)
        usd = uncached, least
    each = fresh.prompt_tokens + fresh.completion_tokens
    asked = optimizer.prompt_tokens + optimizer.completion_tokens
    test = rollouts["test"]
    return Need(plan.rollouts - test, test, plan.rollouts * each + asked, usd)


def target(load: Load, harness: str, own_prompt: float, cached: bool) -> Usage:
    """What one rollout uses."""
    direct = harness == "direct"
    requests = load.requests if direct else load.agent_requests
    first = load.prompt + round(own_prompt)
    # The reference's chat protocol of the games: each prompt is new, and as long as the first.
    led = direct and load is LOADS["alfworld"]
    growth = 0 if led else load.growth
    prompt = requests * first + growth * requests * (requests - 1) // 2
    read_before = 0 if led else prompt - first - growth * (requests - 1)
    return Usage(
        requests, prompt, read_before if cached else 0, requests * load.completion, cost_usd=0.0
    )
