"""What sandboxes may reach of the outside, as a config says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from sandboxes.access import REGISTRIES, Access, HostRule


def _is_rule(text: str) -> str:
    HostRule.parse(text)
    return text


Host = Annotated[str, AfterValidator(_is_rule)]
Network = Literal["none", "registries", "open"] | tuple[Host, ...]
"""``none``; ``registries`` for the public package registries; a list of hosts; ``open`` for
everything that the engine's own network reaches."""


def access_to(network: Network) -> Access:
    """What a backend is asked to let through."""
    if network in ("none", "open"):
        return Access(everything=network == "open")
    hosts = REGISTRIES if network == "registries" else network
    return Access(tuple(HostRule.parse(host) for host in hosts))
