"""The newest releases of command-line agents, from the npm registry."""

from __future__ import annotations

import os
import platform
from typing import Any

import httpx2

from harnesses.agents.registry import agent_kind
from sandboxes.errors import SkillOptError

PUBLIC_REGISTRY = "https://registry.npmjs.org"
_VARIABLE = "npm_config_registry"
PATIENCE_S = 5.0
"""Seconds to wait for an answer of the registry."""


class ReleaseError(SkillOptError):
    """The registry did not say which release is the newest. The message says why."""


def newest_release(name: str, machine: str | None = None, registry: str | None = None) -> str:
    """The newest version of an agent that has a build for the machine that runs containers.

    Args:
        name: the agent's.
        machine: its architecture as the kernel names it; by default this machine's.
        registry: address; by default that of ``npm_config_registry``, or the public one.

    Raises:
        ReleaseError: the registry does not answer, or its newest release has no such build.
    """
    address = (registry or os.environ.get(_VARIABLE) or PUBLIC_REGISTRY).rstrip("/")
    package = agent_kind(name).toolchain(None).released_as
    with httpx2.Client(timeout=PATIENCE_S, follow_redirects=True) as client:
        told = _get(client, f"{address}/{package}/latest")
        version = told.get("version") if told else None
        if not isinstance(version, str):
            raise ReleaseError(f"{address} names no newest release of {name}")
        build = agent_kind(name).toolchain(version).build(machine or platform.machine())
        if _get(client, f"{address}/{build.package}/{build.version}") is None:
            raise ReleaseError(f"{version} has no build for this machine yet ({build.package})")
    return version


def _get(client: httpx2.Client, address: str) -> dict[str, Any] | None:
    """A document of the registry; None if there is none."""
    try:
        answer = client.get(address, headers={"accept": "application/json"})
        if answer.status_code == 404:
            return None
        told = answer.raise_for_status().json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise ReleaseError(f"no network: {type(error).__name__}: {error}") from error
    return told if isinstance(told, dict) else None
