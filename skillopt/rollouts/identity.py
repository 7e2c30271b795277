"""What identifies a rollout: everything that decides its result, and nothing else.

Its digest is the rollout's address in the store. That gives resume, and sharing between training,
gate, evaluation and transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harnesses.agents.options import Options
from harnesses.base import ModelSpec
from skillopt.core.files import digest_of

KEYS_ADDED_LATER: dict[str, dict[str, Any]] = {
    "harness": {"mount": "native", "mode": "batch", "options": Options().model_dump(mode="json")},
    "skill": {"beside": []},
    "sandbox": {
        "network": "none",
        "verifier_network": "none",
        "options": {},
        "root": True,
        "handover": "auto",
    },
    "tasks": {"exclude": [], "options": {}, "duplicates": "refuse", "environment": ""},
    "gate": {"kind": "strict", "options": {}},
    "sim": {"protocols": []},
    "upstream": {"api_version": "", "login": None},
}
"""Keys that were added after the first runs, by section, with the values that change nothing. With
these values they are left out, so that rollouts from before are still found."""


JUDGING = ("verifier", "judge")
"""Keys of ``agent`` that are about the verdict and not about the work."""


@dataclass(frozen=True)
class RolloutIdentity:
    """Everything that the address of a rollout depends on.

    Args:
        skill: digest of the skill, None for a run without one.
        task: digest of the task.
        agent: name and version of the harness, and its settings if they are not the defaults:
            sandbox, budget, options, mode, mount, other skills, verifier, judge.
        model: name and sampling; the upstream's name in the config does not count.
        service: what else decides the upstream's replies, such as its address.
        replicate: number of the repetition, from 0.
    """

    skill: str | None
    task: str
    agent: Mapping[str, Any]
    model: ModelSpec
    service: Mapping[str, Any]
    replicate: int

    @cached_property
    def key(self) -> str:
        """Address in the store: SHA-256 in hexadecimal."""
        return digest_of(self.to_json())

    @property
    def work(self) -> str:
        """What identifies the agent's work: the key without the user's own verifier and the judge,
        which may be corrected while the work waits to be judged."""
        agent = {name: value for name, value in self.agent.items() if name not in JUDGING}
        return replace(self, agent=agent).key

    @property
    def seed(self) -> int:
        """The rollout's seed: reproducible, and different for every task, skill and replicate."""
        return int(self.key[:12], 16)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> RolloutIdentity:
        """The identity from ``result.json``, which does not name the upstream.

        Raises:
            KeyError, TypeError: it is not one.
        """
        model = values["model"]
        return cls(
            skill=values["skill"],
            task=values["task"],
            agent=values["harness"],
            model=ModelSpec("", model["name"], model["sampling"]),
            service=model["service"],
            replicate=values["replicate"],
        )

    def to_json(self) -> dict[str, Any]:
        """The identity as in ``result.json``."""
        return {
            "skill": self.skill,
            "task": self.task,
            "harness": dict(self.agent),
            "model": {
                "name": self.model.name,
                "sampling": dict(self.model.sampling),
                "service": dict(self.service),
            },
            "replicate": self.replicate,
        }


def work_of(identity: Mapping[str, Any]) -> str:
    """:attr:`RolloutIdentity.work` of an identity in ``result.json``; empty if it has none."""
    return RolloutIdentity.read(identity).work if identity else ""


def without_later(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the keys of :data:`KEYS_ADDED_LATER` that change nothing."""
    later = KEYS_ADDED_LATER.get(section, {})
    return {k: v for k, v in settings.items() if k not in later or v != later[k]}
