"""What driver and nodes tell each other. Plain data, which both sides have the same code for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harnesses.base import Usage
from harnesses.gateway.service import PlanUse, Wait
from skillopt.config.prices import Prices


@dataclass(frozen=True)
class NodeOrders:
    """What a node is set up with.

    Args:
        config: the run's, as JSON, with the paths of the driver.
        prices: the driver's price table.
        parts: what identifies the user's own parts that the config names.
        keys: names of the environment variables that must contain API keys.
        keys_file: file on the node that has them; empty for its environment.
        slots: rollouts at the same time.
        silence_s: seconds without a beat after which the node ends its work.
    """

    config: Mapping[str, Any]
    prices: Prices
    parts: Mapping[str, str]
    keys: Sequence[str]
    keys_file: str
    slots: int
    silence_s: float


@dataclass(frozen=True)
class Beat:
    """What a node is told every few seconds.

    Args:
        shares: requests at the same time that it may make of each service.
        holds: seconds for which services have asked other nodes for no more requests.
        blocked: why services need not be asked any more.
    """

    shares: Mapping[str, int]
    holds: Mapping[str, float]
    blocked: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """How far an attempt is.

    Args:
        usage: what it has used so far.
        wire: what has been added to its ``wire.jsonl`` since the last beat, compressed.
    """

    usage: Usage
    wire: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Pulse:
    """A node's reply to a beat.

    Args:
        shares: the most requests that it may now have at each service.
        attempts: its attempts by number.
        news: what its gateway tells of services.
        limited: seconds for which services have asked it for no more requests.
        blocked: why services need not be asked any more.
    """

    shares: Mapping[str, int]
    attempts: Mapping[int, Progress]
    news: Sequence[Wait | PlanUse]
    limited: Mapping[str, float]
    blocked: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """The end of an attempt.

    Args:
        result: the rollout, as ``result.json`` has it; None if there is none.
        folder: its folder on the node, which messages name.
        parcel: what was in there.
        failed: why the infrastructure failed, if there is no rollout.
        own: what a user's own part raised.
        unusable: why this job cannot be run at all.
        blocked: why services need not be asked any more.
    """

    result: Mapping[str, Any] | None
    folder: str
    parcel: bytes = field(repr=False)
    failed: str = ""
    own: str = ""
    unusable: str = ""
    blocked: Mapping[str, str] = field(default_factory=dict)
