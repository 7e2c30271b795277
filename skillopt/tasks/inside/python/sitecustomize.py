"""How the Pythons of a verifier find modules: the agent's come last, whatever their names.

Read by every Python (3.4 or later) that a verifier starts with PYTHONPATH. The working directory is
the agent's, and Python would look there first for `-c`, `-m` and programs on standard input: a file
json.py would then be run as what the tests import. PYTHONSAFEPATH prevents that from 3.11 on, but
would also hide the packages that tests mean when they name the agent's own, and what a script
imports from its own folder.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

_HERE = os.getcwd()
_SCRIPT = sys.argv[0] if getattr(sys, "argv", None) else ""
_NEVER = ("_pytest", "coverage", "hypothesis", "nose2", "nox", "pip", "pluggy", "pytest", "tox")
"""Programs that judge: if an image has none, the agent's of that name is none either."""
_THEIRS = [os.path.realpath(place) for place in (_HERE, os.environ.get("JUDGED_WORKDIR", _HERE))]


def _agents_last() -> None:
    """Move the folders of the search path that are the agent's to its end."""
    theirs = [entry for entry in sys.path if _is_theirs(os.path.realpath(entry or "."))]
    sys.path[:] = [entry for entry in sys.path if entry not in theirs]
    sys.path += [entry for entry in theirs if entry not in ("", _HERE)]


def _is_theirs(place: str) -> bool:
    return any(place == top or place.startswith(top.rstrip(os.sep) + os.sep) for top in _THEIRS)


class _First:
    """Before the first import of the program, once: a Python without PYTHONSAFEPATH has put the
    working directory in front by then."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        sys.meta_path.remove(_First)
        _agents_last()


class _Last:
    """After all other places: the working directory, for modules alone. Entry points of installed
    packages are not looked for in it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if path is not None or name in _NEVER:
            return None
        return PathFinder.find_spec(name, [_HERE])


_agents_last()
if _SCRIPT in ("", "-", "-c", "-m"):
    sys.meta_path.insert(0, _First)
    sys.meta_path.append(_Last)
elif getattr(sys.flags, "safe_path", False) and os.path.exists(_SCRIPT):
    # A script that the tests name finds what lies beside it, as ever.
    sys.path.insert(0, os.path.dirname(os.path.realpath(_SCRIPT)))
