"""Whether a node runs the same code as the driver: a rollout's identity is computed by the driver,
and would be wrong for the work of another version."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from harnesses.agents.registry import toolchains
from skillopt.config.schema import Config
from skillopt.core.resources import resource
from skillopt.rollouts.plugins import Plugins, identities, load_plugins

PARTS = ("harness", "verifier", "sandbox")
ADVICE = "install the same version of skillopt-harness, with the same Python, on all nodes"


@cache
def versions() -> Mapping[str, str]:
    """What must be the same everywhere, by what it is called in messages."""
    try:
        package = metadata.version("skillopt-harness")
    except metadata.PackageNotFoundError:
        package = "not installed as a package"
    agents = {chain.name: chain.version for chain in toolchains()}
    return {
        "skillopt-harness": package,
        "its source code": source_digest(),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **agents,
    }


def source_digest() -> str:
    """A digest of the project's code, prompts and Dockerfiles, 12 hexadecimal digits."""
    found = hashlib.sha256()
    packages = Path(__file__).parents[3]
    roots = [packages / name for name in ("skillopt", "harnesses", "sandboxes")]
    for root in (*roots, resource("dockerfiles")):
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            # A package's data is in another folder than a clone's.
            if path.is_file() and not {"__pycache__", "_data"} & {*name.parts}:
                found.update(f"{root.name}/{name}\n".encode())
                found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]


def difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """What of another process is different, with advice; empty if nothing is.

    Args:
        own: :func:`versions` of this one.
        other: of the other.
    """
    for what in dict.fromkeys([*own, *other]):
        if own.get(what) != other.get(what):
            here, there = own.get(what, "missing"), other.get(what, "missing")
            return f"{what} is {there} there and {here} here; {ADVICE}"
    return ""


def own_parts(config: Config) -> dict[str, str]:
    """What identifies the user's own parts of rollouts that a config names by import path.

    Raises:
        PluginError: an import path leads nowhere.
    """
    found = identities(config, load_plugins(config, Plugins()))
    return {k: v for k, v in found.items() if k in PARTS or k.startswith("upstreams.")}


def difference_of_parts(driver: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Which of the user's own parts is another one here, with advice; empty if none is."""
    for part, digest in driver.items():
        if here.get(part) != digest:
            return f"your own {part} is not the driver's: install the same code on all nodes"
    return ""
