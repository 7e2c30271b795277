"""Errors that a user can act on; the command line catches their base and nothing else.

::

    SkillOptError                      2  unusable input; also the base of all the others
    ├── ConfigError                    2  a config file, or a value in it
    ├── TaskError · SkillError         2  a task or a skill that cannot be read or used
    ├── PluginError                    2  an import path that leads nowhere
    │   └── OwnCodeError               2  a user's own function raised; it has its traceback
    ├── PromptError · TrackerError     2  a prompt template, an experiment tracker
    ├── FingerprintError               2  a run was started with different inputs
    ├── JournalError                   2  a run's event log cannot be used
    ├── DeployError · ServerError      2  a deployment, the server of the page
    ├── FileError                      2  a file or folder that cannot be read or written
    ├── SandboxError                   3  a sandbox or its engine failed
    ├── GatewayError                   3  the gateway did not start
    ├── PausedError                    3  infrastructure failed too often; resume later
    └── LimitReachedError              4  a limit of the config was reached

The number is :attr:`SkillOptError.exit_code`. Errors of the layers below carry theirs too.
"""

from __future__ import annotations

from sandboxes.errors import SkillOptError as SkillOptError


class FileError(SkillOptError):
    """A file or folder that cannot be read or written; the message names it and what to do."""


class PausedError(SkillOptError):
    """Infrastructure failed too often to go on. The same command resumes from here."""

    exit_code = 3
