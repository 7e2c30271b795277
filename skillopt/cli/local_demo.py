"""SmolLM2 training a skill for itself on this machine, and what to compare the result with.

Random examples are the control: the effect of as many worked examples if nobody selects them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.core.types import Task
from skillopt.evaluation.evaluate import evaluate
from skillopt.evaluation.scoring import Row
from skillopt.run.events import Listener
from skillopt.tasks.questions import expected_answer
from skillopt.tasks.sources import load_splits
from skillopt.training.start import RunResult, train

DRAWS = 5
"""Number of skills with random examples, whose scores are pooled."""


def train_and_compare(
    config: Config, listeners: Sequence[Listener] = (), draws: int = DRAWS
) -> tuple[RunResult, list[Row]]:
    """Train, then score on the test split: no skill, the hand-written initial skill, random
    examples, the trained skill.

    Args:
        config: ``quickstart/smollm2`` or one like it, of questions.
        listeners: as for :func:`skillopt.training.start.train`.
        draws: number of skills with random examples; one row has the rollouts of all of them.
    """
    result = train(config, listeners=listeners)
    tasks = load_splits(config.tasks, config.split_seed, config.runs / "tasks")["train"]
    count = result.best.body.count("Input: ") - result.initial.body.count("Input: ")
    controls = random_examples(result.initial, tasks, max(1, count), draws)
    skills: Mapping[str, Skill | None] = {
        "none": None, "hand-written": result.initial, **controls, "trained": result.best,
    }  # fmt: skip
    rows = evaluate(config, skills, listeners=listeners)
    drawn = [row for row in rows if row.skill in controls]
    together = replace(
        drawn[0],
        skill=f"{count} random examples",
        rollouts=tuple(rollout for row in drawn for rollout in row.rollouts),
    )
    others = [row for row in rows if row.skill not in controls]
    return result, [*others[:-1], together, others[-1]]


def random_examples(
    skill: Skill, tasks: Sequence[Task], count: int, draws: int
) -> dict[str, Skill]:
    """Several copies of the skill, each with some training tasks and their answers appended."""
    made = {}
    for draw in range(1, draws + 1):
        chosen = random.Random(f"examples/{draw}").sample(list(tasks), min(count, len(tasks)))
        examples = [f"{task.instruction} {expected_answer(task)}" for task in chosen]
        made[f"random {draw}"] = replace(skill, body="\n\n".join([skill.body, *examples]))
    return made
