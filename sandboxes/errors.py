"""The base of every error that this project raises on purpose.

It is in the lowest package so that all three can use it; the whole tree is in
:mod:`skillopt.core.errors`.
"""

from __future__ import annotations

from typing import ClassVar


class SkillOptError(Exception):
    """An error that a user can act on. The message says what happened, where, and what to do.

    Attributes:
        exit_code: with which the command line ends: 2 for unusable input, 3 for a failure of the
            infrastructure (the same command resumes), 4 for a limit that was reached.
    """

    exit_code: ClassVar[int] = 2


class BackendError(SkillOptError, ValueError):
    """A backend that does not exist, does not take an option, or cannot run an agent. The message
    begins with the config's key."""
