"""The network access of sandboxes, as a config describes it."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Literal

from pydantic import AfterValidator

from sandboxes.access import PRESETS, Access, HostRule


def _is_rule(text: str) -> str:
    HostRule.parse(text)
    return text


Host = Annotated[str, AfterValidator(_is_rule)]
Network = Literal["none", "registries", "installers", "open"] | tuple[Host, ...]
"""``none``; ``registries`` for the public package registries; ``installers`` for what test scripts
install tools from; a list of these two words and of hosts; or ``open`` for everything that the
engine's own network can reach."""


def access_to(network: Network, *, recorded: bool = False) -> Access:
    """The access that a backend is asked to allow.

    Args:
        network: of the config.
        recorded: whether to record what is wanted outside even if nothing is allowed.
    """
    if network in ("none", "open"):
        return Access(everything=network == "open", recorded=recorded)
    named = (network,) if isinstance(network, str) else network
    hosts = chain.from_iterable(PRESETS.get(name, (name,)) for name in named)
    return Access(tuple(HostRule.parse(host) for host in hosts), recorded=recorded)
