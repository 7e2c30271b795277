"""Errors that a user can act on. The command line catches only their base class.

::

    SkillOptError                      2  unusable input; also the base of all the others
    ├── ConfigError                    2  a config file, or a value in it
    ├── TaskError · SkillError         2  a task or a skill that cannot be read or used
    ├── PluginError                    2  an import path that leads nowhere
    │   └── OwnCodeError               2  a user's own function raised; it has its traceback
    ├── PromptError · TrackerError     2  a prompt template, an experiment tracker
    ├── FingerprintError               2  a run was started with different inputs
    ├── JournalError · RunError        2  a run's event log cannot be used, or there is no run
    ├── DeployError · ServerError      2  a deployment, the server of the page
    ├── FileError                      2  a file or folder that cannot be read or written
    ├── FormatError                    2  a file of another version, or not one of ours
    ├── BackendError · HarnessError    2  a kind of sandbox or an agent that cannot be used
    ├── OptionsError · ToolchainError  2  an agent's options, an agent that has no build
    ├── ProtocolError                  2  a message that does not follow its protocol
    ├── SandboxError                   3  a sandbox or its engine failed
    ├── GatewayError                   3  the gateway did not start
    ├── UpstreamError · ChatError      3  a model service did not answer
    │   └── UnusableUpstreamError      2  a model service that cannot be used as it is set up
    ├── UnknownScreenError             3  an agent's terminal shows something unknown
    ├── PausedError                    3  infrastructure failed too often; resume later
    └── LimitReachedError              4  a limit of the config was reached

The number is :attr:`SkillOptError.exit_code`. Errors of the layers below carry theirs too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sandboxes.errors import SkillOptError as SkillOptError

RESUME_HINT = (
    "No work is lost. Fix the problem ('skillopt doctor' can help), then run the same command "
    "again to resume."
)


class FileError(SkillOptError):
    """A file or folder cannot be read or written. The message names it and what to do."""


class FormatError(SkillOptError):
    """A file cannot be read by this version: it is older, newer, or damaged."""


@contextmanager
def file_errors() -> Iterator[None]:
    """At the edges of the program, turns an error of the file system into one with advice.

    Raises:
        PausedError: the disk is full.
        FileError: a file or folder cannot be read or written, or is of the wrong kind.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # The reader of our output has gone; click handles this.
        raise file_error(error) from error


def file_error(error: OSError) -> SkillOptError:
    """An error of the file system as an error of this project."""
    name = error.filename
    where = f"{os.fsdecode(name)}: " if isinstance(name, str | bytes | os.PathLike) else ""
    what = f"{where}{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PausedError(f"{what}: the disk is full: free some space. {RESUME_HINT}")
    return FileError(f"{what}; {_ADVICE.get(error.errno or 0, 'check that path')}")


_WRITABLE = "choose a place that can be written (key 'runs', or the option that names the output)"
_ADVICE = {
    errno.EROFS: _WRITABLE,
    errno.EACCES: f"check its permissions, or {_WRITABLE}",
    errno.EPERM: f"check its permissions, or {_WRITABLE}",
    errno.EISDIR: "a file is expected there, and it is a folder",
    errno.ENOTDIR: "a folder is expected there, and it is a file",
    errno.EEXIST: "it already exists: remove it, or choose another name",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or lower the key 'workers'",
}


class PausedError(SkillOptError):
    """Infrastructure failed too often to continue. Running the same command again resumes."""

    exit_code = 3
