"""How the Pythons of a verifier find modules: the agent's come last, and only if they are meant.

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
_THEIRS = [os.path.realpath(place) for place in (_HERE, os.environ.get("JUDGED_WORKDIR", _HERE))]
_NEVER = ("_pytest", "coverage", "hypothesis", "nose2", "nox", "pip", "pluggy", "pytest", "tox")
"""Programs that judge: if an image has none, the agent's of that name is none either."""
_BY_NAME = ("runpy", "pkgutil", "unittest.loader", "doctest", "pydoc")
"""Modules of Python that import what a user names."""


def _is_theirs(place: str) -> bool:
    place = os.path.realpath(place or ".")
    return any(place == top or place.startswith(top.rstrip(os.sep) + os.sep) for top in _THEIRS)


def _set_apart() -> None:
    """Take the agent's folders off the search path."""
    for entry in [entry for entry in sys.path if _is_theirs(entry)]:
        sys.path.remove(entry)
        if entry not in ("", _HERE):
            _Last.places.append(entry)


def _is_meant() -> bool:
    """Whether a module is imported by the tests or by the agent's own code. Python and installed
    packages also try modules that an image does not have, for which the agent's would be run."""
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith("<frozen importlib")
        or str(frame.f_globals.get("__name__")).startswith("importlib")
    ):
        frame = frame.f_back
    if frame.f_globals.get("__name__") in _BY_NAME:
        return True
    file = frame.f_code.co_filename
    return not file.startswith(("<frozen", *_INSTALLED))


class _First:
    """Before the first import of the program, once: a Python without PYTHONSAFEPATH has put the
    working directory in front by then."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        sys.meta_path.remove(_First)
        _set_apart()


class _Last:
    """After all other places: the agent's folders, for modules alone. Entry points of installed
    packages are not looked for in them."""

    places = [_HERE] if _SCRIPT in ("", "-", "-c", "-m") else []

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        if path is not None or name in _NEVER or not _is_meant():
            return None
        return PathFinder.find_spec(name, cls.places)


_set_apart()
_INSTALLED = tuple(
    entry.rstrip(os.sep) + os.sep
    for entry in sys.path
    if entry and os.path.isdir(entry) and entry != os.path.dirname(__file__)
)
sys.meta_path.append(_Last)
if _SCRIPT in ("", "-", "-c", "-m"):
    sys.meta_path.insert(0, _First)
elif getattr(sys.flags, "safe_path", False) and os.path.exists(_SCRIPT):
    # A script that the tests name finds what lies beside it, as ever.
    sys.path.insert(0, os.path.dirname(os.path.realpath(_SCRIPT)))
