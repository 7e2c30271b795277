"""The rollouts that a page lists: each once for every use, by task and use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harnesses.base import Usage
from skillopt.core.types import RolloutRow

STATUSES = ("completed", "agent_timeout", "agent_error")


@dataclass
class Columns:
    """Scored rollouts: a list per column rather than objects, as a run may have tens of
    thousands."""

    key: list[str] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    """Index into the table's tasks."""
    use: list[int] = field(default_factory=list)
    """Index into the table's uses: what the rollout was run for."""
    soft: list[float] = field(default_factory=list)
    hard: list[int] = field(default_factory=list)
    """Whether the task was fully solved: 1 or 0."""
    status: list[int] = field(default_factory=list)
    """Index into :data:`STATUSES`."""
    opened: list[int] = field(default_factory=list)
    """Whether the skill was opened: 1, 0, or -1 for a rollout without a skill."""
    tokens: list[int] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    """Dollars; -1 if the price is not known."""


@dataclass
class RolloutTable:
    """Tasks, uses and rollouts of a run, each of which keeps its number.

    Attributes:
        tasks: name, family and split; the split is empty if the task is in none any more.
        uses: what rollouts were run for: name, split and step.
    """

    tasks: list[dict[str, str]] = field(default_factory=list)
    uses: list[dict[str, Any]] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    _numbers: dict[str, int] = field(default_factory=dict)

    def set_splits(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        """Set the splits as the run has them now; earlier ones may have had other tasks."""
        for task in self.tasks:
            task["split"] = ""
        for split, items in splits.items():
            for item in items:
                number = self._number(item["id"], item["family"], split)
                self.tasks[number] |= {"family": item["family"], "split": split}

    def add(self, name: str, split: str, step: int, rows: Iterable[RolloutRow]) -> int:
        """Add scored rollouts and what they were run for. Returns the number of the use."""
        use, columns = len(self.uses), self.columns
        self.uses.append({"name": name, "split": split, "step": step})
        for row in rows:
            if not row.status.scored:
                continue
            columns.key.append(row.key)
            columns.task.append(self._number(row.task, row.family, split))
            columns.use.append(use)
            columns.soft.append(round(row.soft, 4))
            columns.hard.append(int(row.hard == 1))
            columns.status.append(STATUSES.index(row.status.value))
            columns.opened.append(-1 if row.skill_activated is None else int(row.skill_activated))
            columns.tokens.append(row.usage.prompt_tokens + row.usage.completion_tokens)
            columns.cost.append(_cost(row.usage))
        return use

    def about(self, key: str) -> dict[str, str] | None:
        """Task, split and use of a rollout; None if it is not in the table. A rollout may count for
        several uses: the split is the one that decides most."""
        columns = self.columns
        places = [place for place, known in enumerate(columns.key) if known == key]
        if not places:
            return None
        uses = [self.uses[columns.use[place]] for place in places]
        splits = {use["split"] for use in uses}
        return {
            "task": self.tasks[columns.task[places[0]]]["name"],
            "split": next((split for split in ("test", "val") if split in splits), "train"),
            "use": uses[0]["name"],
        }

    def numbers(self, names: Iterable[str], split: str) -> list[int]:
        """The numbers of the tasks of a split that a record names."""
        return [self._number(name, "", split) for name in names]

    def _number(self, name: str, family: str, split: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.tasks)
            self.tasks.append({"name": name, "family": family, "split": split})
        return self._numbers[name]


def _cost(usage: Usage) -> float:
    """A cost in USD; -1 if it is not known, -2 if a plan has paid."""
    if usage.cost_usd is None:
        return -1
    return -2 if usage.included and not usage.cost_usd else round(usage.cost_usd, 6)
