"""ALFWorld's score: hard and soft are 1 if the game was won, else 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.files import read_json
from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.alfworld.game import FORMAT, RECORD, REFUSED

SHOWN = 5
"""The most refused commands that the feedback names."""
COMMAND_CHARS = 80


@dataclass(frozen=True)
class Judge:
    """A task's verifier. It reads the record of the game, which no agent can write to."""

    def __call__(self, task: Task, workspace: Path, answer: str, rollout: Path) -> Reward:
        file = rollout / RECORD
        if not file.is_file():
            return Reward(0.0, {"steps": 0.0}, "The game was not begun: no command was given.")
        game = read_json(file, format=FORMAT)
        steps = game["steps"]
        refused = [step["command"] for step in steps if step["observation"] == REFUSED]
        won = bool(steps and steps[-1]["won"])
        metrics = {
            "steps": float(len(steps)),
            "refused": float(len(refused)),
            "fallbacks": float(game["fallbacks"]),
        }
        said = "" if won else _feedback(len(steps), game["max_steps"], refused, game["fallbacks"])
        return Reward(float(won), metrics, said)


def _feedback(steps: int, most: int, refused: Sequence[str], fallbacks: int) -> str:
    left = f"it was left after {steps} of {most} steps"
    said = [f"The game was not won: {left if steps < most else f'all {most} steps were used'}."]
    if refused:
        said.append(
            f"{len(refused)} of {steps} commands were refused ('{REFUSED}'): {_counted(refused)}."
        )
    if fallbacks:
        said.append(f"{fallbacks} replies had no action and were taken as 'look'.")
    return " ".join(said)


def _counted(commands: Sequence[str]) -> str:
    counts = Counter(command.strip()[:COMMAND_CHARS] for command in commands)
    shown = [
        f"{command!r}{f' ({count} times)' if count > 1 else ''}"
        for command, count in counts.most_common(SHOWN)
    ]
    more = len(counts) - SHOWN
    return ", ".join(shown) + (f" and {more} others" if more > 0 else "")
