"""The network access of sandboxes, as a config describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from sandboxes.access import REGISTRIES, Access, HostRule


def _is_rule(text: str) -> str:
    HostRule.parse(text)
    return text


Host = Annotated[str, AfterValidator(_is_rule)]
Network = Literal["none", "registries", "open"] | tuple[Host, ...]
"""``none``; ``registries`` for the public package registries; a list of hosts; or ``open`` for
everything that the engine's own network can reach."""


def access_to(network: Network, *, recorded: bool = False) -> Access:
    """The access that a backend is asked to allow.

    Args:
        network: of the config.
        recorded: whether to record what is wanted outside even if nothing is allowed.
    """
    if network in ("none", "open"):
        return Access(everything=network == "open", recorded=recorded)
    hosts = REGISTRIES if network == "registries" else network
    return Access(tuple(HostRule.parse(host) for host in hosts), recorded=recorded)
