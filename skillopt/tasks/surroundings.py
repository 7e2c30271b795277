"""What a verifier's programs find around them: tests, home, variables; and nothing of the agent's.

The tests lie in a folder of random name that only the verifier's user can enter. Every program that
tests may start takes its settings from here, not from the working directory, which the agent wrote.
What the tests name there (a package, a Makefile, a script) is what is judged, and runs as ever.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import Mount, Sandbox
from sandboxes.disk import MEGABYTE
from sandboxes.mounts import agent_ids, prepare_writable
from sandboxes.trees import entries_below, remove_tree
from skillopt.core.types import Task
from skillopt.tasks.rewards import read_plain

INSIDE = Path(__file__).parent / "inside"
"""The scripts that a verifier's sandbox is given; their comments explain how they work."""
SCRIPTS = "/opt/skillopt/verifier"
HIDDEN = "/skillopt/hidden"
HOME = "/skillopt/home"
UNTRUSTED = "/skillopt/untrusted"
TESTS = "/tests"
LOGS = "/logs/verifier"
UNTRUSTED_SHARE = 0.5
"""The share of a verifier's time after which one program of the agent's is ended."""

_NAMES_TESTS = re.compile(rb"(?<![\w./}])/tests(?![\w-])")
_NAMES_HOOKS = re.compile(
    rb"\.git/hooks|hooksPath|\b(pre|post)-(commit|push|merge|receive|checkout)\b|\bcommit-msg\b"
)
_NAMES_CONFIG = re.compile(
    rb"\.git/config|\bconfig[\"', ]+(--get|--list|-l\b|get\b|list\b)"
    rb"|\bgit config [a-z]+\.[\w.-]+ *($|[)|;&`\"'<>])",
    re.MULTILINE,
)
"""What reads a repository's settings; tests that only write some do not judge them."""


@dataclass(frozen=True)
class Surroundings:
    """The host's side of one run of a verifier. :func:`surround` makes it.

    Args:
        task: whose tests are run.
        folder: on the host, with what is mounted.
        tests: the path of the tests in the sandbox.
        text: all text of the tests, by which they name things.
    """

    task: Task
    folder: Path
    tests: str
    text: bytes

    @property
    def logs(self) -> Path:
        """The folder in which the tests write the reward."""
        return self.folder / "logs"

    @property
    def home(self) -> Path:
        """The home of the tests."""
        return self.folder / "home"

    @property
    def attacked(self) -> str:
        """What a program of the agent's did to the verifier's own machinery; usually empty."""
        note = read_plain(self.folder / "untrusted" / "attacked", 1000) or b""
        return note.decode("utf-8", "replace").strip()

    @property
    def tests_mb(self) -> int:
        """The size of the tests, in megabytes and rounded up."""
        files = (e for e in entries_below(self.task.folder / "tests") if e.is_file())
        return sum(entry.stat().st_size for entry in files) // MEGABYTE + 1

    def mounts(self, keep_home: bool) -> Iterator[Mount]:
        """All mounts but that of the workspace.

        Args:
            keep_home: whether the home is wanted as the tests leave it.
        """
        if self.tests == TESTS:
            yield Mount(str(self.folder / "hidden"), TESTS)
        else:
            yield Mount(str(self.folder / "hidden"), HIDDEN)
        yield Mount(str(INSIDE), SCRIPTS)
        yield Mount(str(self.home), HOME, read_only=False, returned=keep_home)
        yield Mount(str(self.logs), LOGS, read_only=False)
        if self.task.untrusted_programs:
            yield Mount(str(self.folder / "untrusted"), UNTRUSTED, read_only=False)

    def env(self, box: Sandbox) -> dict[str, str]:
        """The variables of the tests in a started sandbox; those of the task come last."""
        env = clean_env(box.path(HOME), hooks=bool(_NAMES_HOOKS.search(self.text)))
        env |= dict(self.task.env) | {"HOME": box.path(HOME)} | dict(self.task.verifier_env)
        env |= {"TESTS_DIR": box.path(self.tests), "VERIFIER_LOGS": box.path(LOGS)}
        return env | self._untrusted(box)

    def argv(self, box: Sandbox) -> list[str]:
        """The command that runs the tests."""
        return ["bash", f"{box.path(SCRIPTS)}/judge", f"{box.path(self.tests)}/test.sh"]

    def keeps_git_config(self) -> bool:
        """Whether the tests name the configuration of a repository, which is judged then."""
        return bool(_NAMES_CONFIG.search(self.text))

    def remove(self) -> None:
        """Remove what was only needed while the tests ran."""
        for name in ("hidden", "home", "logs", "untrusted"):
            remove_tree(self.folder / name)

    def _untrusted(self, box: Sandbox) -> dict[str, str]:
        """Let the verifier run the agent's programs as another user: the variables for that."""
        if not self.task.untrusted_programs:
            return {}
        if not box.spawn(["bash", f"{SCRIPTS}/serve", UNTRUSTED]):
            return {"UNTRUSTED": "env"}  # env runs a command as it is.
        return {"UNTRUSTED": f"{SCRIPTS}/run", "UNTRUSTED_FOLDER": UNTRUSTED}


def surround(task: Task, folder: Path) -> Surroundings:
    """Make the host's side of a verifier's run.

    Args:
        task: whose tests are run.
        folder: a new folder on the host.
    """
    source = task.folder / "tests"
    text = b"\n".join(_texts(source))
    hidden = folder / "hidden"
    # A variable of the task, such as Harbor's TEST_DIR, may name the place too.
    values = "\n".join(value for _, value in (*task.env, *task.verifier_env))
    if _NAMES_TESTS.search(text) or _NAMES_TESTS.search(values.encode()):
        place, tests = hidden, TESTS
    else:
        name = secrets.token_hex(16)
        place, tests = hidden / name, f"{HIDDEN}/{name}"
    shutil.copytree(source, place)
    for private in ("logs", "home"):
        (folder / private).mkdir(parents=True)
    for private in ("logs", "home", "hidden"):
        (folder / private).chmod(0o700)
    place.chmod(0o700)
    prepare_writable(hidden, *agent_ids())  # Mounted read-only, it belongs to the verifier.
    if task.untrusted_programs:
        _prepare_untrusted(task, folder / "untrusted")
    return Surroundings(task, folder, tests, text)


def clean_env(home: str, *, hooks: bool) -> dict[str, str]:
    """Variables by which programs find no code and no settings in a working directory.

    Args:
        home: the verifier's home, which is empty.
        hooks: whether git hooks of the working directory may run.
    """
    settings = {"core.fsmonitor": "false"} | ({} if hooks else {"core.hooksPath": os.devnull})
    git = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        git |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return git | {
        "GIT_CONFIG_GLOBAL": f"{home}/.gitconfig",  # Tests may write it; nobody has, before.
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/.config",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",  # See inside/python/sitecustomize.py for what tests name.
        "UV_NO_CONFIG": "1",
        "R_PROFILE_USER": os.devnull,
        "R_ENVIRON_USER": os.devnull,
        "npm_config_script_shell": "/bin/sh",
        "npm_config_node_options": "",
    }


def _texts(folder: Path) -> Iterator[bytes]:
    """The beginning of each file of a task's tests."""
    for entry in entries_below(folder):
        if entry.is_file():
            with Path(entry.path).open("rb") as file:
                yield file.read(MEGABYTE)


def _prepare_untrusted(task: Task, folder: Path) -> None:
    """The folder over which programs of the agent's are asked for; the other user can change
    nothing in it but ``hello``."""
    (folder / "hello").mkdir(parents=True)
    (folder / "hello").chmod(0o777)
    folder.chmod(0o755)
    os.mkfifo(folder / "control")
    (folder / "control").chmod(0o666)
    seconds = max(1, int(task.verifier_timeout_s * UNTRUSTED_SHARE))
    (folder / "settings").write_text(f"{task.workdir}\n{seconds}\n", "utf-8")
