"""Import paths: what ``module:name`` in a config refers to."""

from __future__ import annotations

import importlib
from typing import Any

from skillopt.core.errors import SkillOptError


class PluginError(SkillOptError):
    """An import path that leads nowhere; the message names the key and what to do."""


def load(path: str, key: str) -> Any:
    """What an import path ``module:name`` leads to.

    Args:
        path: the module must be importable: installed, or on PYTHONPATH.
        key: of the config, for the message.

    Raises:
        PluginError: there is no such module or name in it.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"{key}: {path}: {error}; give an importable 'module:name' (is it on PYTHONPATH?)"
        ) from error
    return found
