"""``python -m benchmarks.strong_optimizer``: SmolLM2 trained by a strong optimizer, played from
replies that were written by hand.

Whoever wrote them saw what the prompts show and nothing else: the replies to reflections on
failures, in order, are in ``by-hand/smollm2.json``, by the seed of the words; to reflections on
successes the reply was always that nothing is missing. Beside it stand as many, and twelve, random
examples. Another processor may round otherwise, and the model's mistakes be others. 15 minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skillopt import Plugins, train
from skillopt.cli.local_demo import DRAWS, random_examples
from skillopt.config.inputs import read_config
from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.evaluation.evaluate import evaluate
from skillopt.tasks.sources import load_splits
from tests.helpers.conversation import Says

HAND = Path(__file__).parent / "by-hand" / "smollm2.json"
SETTINGS: dict[str, Any] = {
    "train.epochs": 4,
    "train.batch_size": 24,
    "train.minibatch": 24,
    "train.learning_rate": {"start": 6, "end": 3, "schedule": "cosine"},
    "train.successes": True,
    "optimizer": {"upstream": "hand", "name": "by-hand", "sampling": {}},
    "upstreams.hand": {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"},
}
NOTHING = {"reasoning": "Nothing is missing.", "patterns": [], "edits": []}


def by_hand(replies: Sequence[dict[str, Any]]) -> Says:
    """A model service that gives the next of some written replies to each reflection on
    failures."""
    left = iter(replies)

    def answer(prompt: str) -> str:
        failed = "# Trajectories that failed" in prompt
        return json.dumps(next(left, NOTHING) if failed else NOTHING)

    return Says(answer)


def run(seed: int, runs: Path) -> dict[str, Any]:
    """Train on the words of one seed, and score it beside random examples."""
    places = {"runs": str(runs), "tasks.seed": seed, "name": f"by-hand-{seed}"}
    config = read_config("quickstart/smollm2", SETTINGS | places | {"seed": seed})
    config = _with_the_projects_prompts(config)
    plugins = Plugins(upstreams={"hand": by_hand(json.loads(HAND.read_text())[str(seed)])})
    result = train(config, plugins=plugins)
    tasks = load_splits(config.tasks, config.seed, config.runs / "tasks")["train"]
    count = result.best.body.count("Input: ")
    skills: dict[str, Skill | None] = {"hand-written": result.initial, "trained": result.best}
    for size in sorted({count, 12}):
        drawn = random_examples(result.initial, tasks, size, DRAWS)
        skills |= {f"{size} {name}": skill for name, skill in drawn.items()}
    rows = evaluate(config, skills, plugins=plugins)
    scores = {row.skill: row.score.value for row in rows}
    history = [row["action"] for row in result.history]
    return {"seed": seed, "examples": count, "steps": history, **scores}


def _with_the_projects_prompts(config: Config) -> Config:
    """The same, with the optimizer asked as any strong model is."""
    return config.model_copy(update={"train": config.train.model_copy(update={"stages": {}})})


def main() -> None:
    runs = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / "strong-optimizer"
    for seed in map(int, json.loads(HAND.read_text())):
        print(json.dumps(run(seed, runs)), flush=True)


if __name__ == "__main__":
    main()
