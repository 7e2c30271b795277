"""Whether another project's package of the same name lies over this one.

PyPI's ``skillopt`` (Microsoft's) installs the import package ``skillopt`` too: each of the two
overwrites files of the other without a word, and removing one breaks the other. Nothing is
imported here that would cost time.
"""

from __future__ import annotations

import os
import sys

OTHER = "skillopt"
"""Name of the other distribution; this one is ``skillopt-harness``."""
WAY_OUT = (
    "use an environment for each, or run 'pip uninstall skillopt skillopt-harness' and then "
    "'pip install skillopt-harness'"
)
_SITE = __file__.rpartition("skillopt")[0].removesuffix(os.sep)  # Of this package's last folder.


def other_package() -> str:
    """What is wrong if the other package is installed in the same folder; empty if it is not."""
    try:
        with os.scandir(_SITE) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(f"{OTHER}-")]
    except OSError:
        return ""
    for name in found:
        version, dot, kind = name.removeprefix(f"{OTHER}-").rpartition(".")
        if dot and kind in ("dist-info", "egg-info"):
            return (
                f"the package {OTHER!r} {version}, which is another project's, is installed in "
                f"{_SITE} too, and the two overwrite each other's files"
            )
    return ""


def overwritten() -> bool:
    """Whether the other package's files have taken the place of this one's."""
    return not hasattr(sys.modules["skillopt"], "_HOMES")


def warn() -> None:
    """Say it when this package is imported."""
    problem = other_package()
    if problem:
        import warnings

        warnings.warn(f"{problem}: {WAY_OUT}", RuntimeWarning, stacklevel=3)
