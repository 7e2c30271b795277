"""Where attempts at rollouts run, by kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from skillopt.config.kinds import EXECUTORS
from skillopt.config.section import Section, one_of


class ExecutorConfig(Section):
    """Where attempts at rollouts run."""

    kind: Annotated[str, one_of(EXECUTORS)] = "local"
    """``local`` for this machine, ``ray`` for the nodes of a Ray cluster, or the import path of
    your own executor."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options for your own executor, which reads them from the config that it is given."""


class RayConfig(Section):
    """The nodes of a Ray cluster (extra ``ray``)."""

    kind: Literal["ray"]
    address: str = ""
    """Address of the cluster, such as ``10.0.0.1:6379``; ``local`` starts one on this machine,
    which ends with the command. By default, as Ray does: ``RAY_ADDRESS``, or the cluster that runs
    on this machine, or a new one."""
    slots: int = Field(4, ge=1)
    """Most rollouts that a node runs at the same time; ``workers`` limits all nodes together."""
    resource: str = ""
    """Name of a resource, as in ``ray start --resources``, that a node must have to be used; by
    default all nodes are."""
    nodes: int = Field(1, ge=1)
    """Nodes that the work begins with; a cluster with an autoscaler is asked for that many. More
    may join later, and each may leave."""
    wait_s: float = Field(120.0, ge=0)
    """Seconds that are waited for nodes, at the start and when all have gone."""
    silence_s: float = Field(10.0, ge=3)
    """Seconds without a sign of life after which a node counts as gone. Then its rollouts are run
    elsewhere, and it ends them by itself."""
    keys_file: str = ""
    """File on each node with the API keys, one ``NAME=value`` per line, such as a mounted secret.
    By default they are read from the environment of Ray's processes there."""

    @field_validator("address")
    @classmethod
    def _is_no_client(cls, address: str) -> str:
        if "//" in address:
            raise ValueError(
                "an address such as ray:// is that of Ray's client; give the head's own, HOST:6379"
            )
        return address

    @model_validator(mode="before")
    @classmethod
    def _without_empty_options(cls, values: Any) -> Any:
        """Leave out what a config below this one, or a run's own, has as its default."""
        if isinstance(values, dict):
            return {k: v for k, v in values.items() if k != "options" or v}
        return values


def _tag(value: Any) -> str:
    """The section that a mapping is, by its kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return "ray" if kind == "ray" else "own"


AnyExecutorConfig = Annotated[
    Annotated[ExecutorConfig, Tag("own")] | Annotated[RayConfig, Tag("ray")], Discriminator(_tag)
]
