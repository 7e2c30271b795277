"""Runs one task's hidden checks on the working directory: ``verify.py LOG_FOLDER``.

The directory is hostile: links, devices, huge or broken files are a problem to report, never a
crash. Standalone: it is copied into each task's ``tests/`` beside ``family.py`` and ``data.json``.
"""

import csv
import io
import json
import os
import resource
import runpy
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MAX_BYTES = 2_000_000
MAX_ROWS = 20_000
RUN_SECONDS = 15
MEMORY = 1 << 30
OUTPUT = 4 * MAX_BYTES
KEPT = ("PATH", "UNTRUSTED_FOLDER")
"""Environment variables that commands are given."""

_READ_WORKBOOK = f"""
import io, json, sys
import openpyxl
book = openpyxl.load_workbook(io.BytesIO(sys.stdin.buffer.read()), data_only=True)
sheets = {{}}
for sheet in book.worksheets:
    rows = sheet.iter_rows(max_row=min(sheet.max_row, {MAX_ROWS}), max_col=20, values_only=True)
    sheets[sheet.title] = [list(row) for row in rows]
print(json.dumps(sheets, default=str))
"""


class UnusableError(Exception):
    """A result that cannot be checked at all; the message is the feedback and the reward is 0."""


class Run(NamedTuple):
    """How a command of the agent's ended."""

    code: int
    stdout: str
    stderr: str


class Checks:
    """Collects what passed and what was wrong, and reads files of the working directory."""

    def __init__(self) -> None:
        self.passed = 0
        self.problems: list[str] = []

    def that(self, ok: bool, problem: str) -> None:
        """One check; ``problem`` says what was wrong, not what would be right."""
        if ok:
            self.passed += 1
        else:
            self.problems.append(problem)

    def content(self, name: str) -> bytes:
        """A regular file of the working directory; anything else is unusable."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UnusableError(f"{name}: the file is missing") from None
        except OSError as error:
            raise UnusableError(f"{name}: not an ordinary file ({error.strerror})") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise UnusableError(f"{name}: not an ordinary file")
        with os.fdopen(fd, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UnusableError(f"{name}: larger than {MAX_BYTES} bytes")
        return content

    def text(self, name: str) -> str:
        try:
            return self.content(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UnusableError(f"{name}: not UTF-8 text") from None

    def csv(self, name: str) -> list[list[str]]:
        """Rows without the empty ones, cells stripped."""
        try:
            rows = list(csv.reader(io.StringIO(self.text(name), newline="")))
        except csv.Error as error:
            raise UnusableError(f"{name}: not readable as CSV ({error})") from None
        return [[cell.strip() for cell in row] for row in rows if any(row)]

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.text(name))
        except (ValueError, RecursionError):
            raise UnusableError(f"{name}: not valid JSON") from None

    def workbook(self, name: str) -> dict[str, list[list[Any]]]:
        """Sheets as rows of JSON values; parsed in a limited process, as a file may be a bomb."""
        run = self.run([sys.executable, "-I", "-c", _READ_WORKBOOK], stdin=self.content(name))
        if run.code != 0:
            raise UnusableError(f"{name}: not readable as an Excel workbook")
        sheets: dict[str, list[list[Any]]] = json.loads(run.stdout)
        return sheets

    def run_program(self, argv: Sequence[str], cwd: str) -> Run:
        """Run a program of the agent's in a folder that it may read: as another user where there is
        one, who can neither read these tests nor write the reward. Limited like :meth:`run`."""
        runner = os.environ.get("UNTRUSTED", "env")
        if runner == "env":
            return self.run(argv, cwd=cwd)
        Path(cwd).chmod(0o755)
        limits = f"ulimit -v {MEMORY // 1024} -f {OUTPUT // 1024} -t {RUN_SECONDS} -u 0"
        return self._run([runner, "bash", "-c", f'{limits}; exec "$@"', "-", *argv], cwd, b"", None)

    def run(self, argv: Sequence[str], *, cwd: str | None = None, stdin: bytes = b"") -> Run:
        """Run a command with little memory, output and time, and without child processes.

        One that does not end in time is unusable.
        """
        return self._run(argv, cwd, stdin, _limit)

    def _run(
        self,
        argv: Sequence[str],
        cwd: str | None,
        stdin: bytes,
        limit: Callable[[], None] | None,
    ) -> Run:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin)
            given.seek(0)
            try:
                code = subprocess.run(
                    argv, cwd=cwd, stdin=given, stdout=out, stderr=err, timeout=RUN_SECONDS,
                    preexec_fn=limit,
                    # One thread: openpyxl loads numpy where it is, which would start several.
                    env={"PATH": os.defpath, **kept, "OPENBLAS_NUM_THREADS": "1"},
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UnusableError(f"not done after {RUN_SECONDS} s, and stopped") from None
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read(OUTPUT).decode("utf-8", "replace"))
        return Run(code, *texts)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT, OUTPUT))
    resource.setrlimit(resource.RLIMIT_CPU, (RUN_SECONDS, RUN_SECONDS))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _clear(folder: Path) -> None:
    """Empty the log folder: a script that was run may have planted something there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def main(logs: str) -> None:
    here = Path(__file__).resolve().parent
    data = json.loads((here / "data.json").read_text(encoding="utf-8"))
    verify = runpy.run_path(str(here / "family.py"))["verify"]
    checks = Checks()
    try:
        verify(data, checks)
        reward = checks.passed / (checks.passed + len(checks.problems))
    except UnusableError as error:
        reward = 0.0
        checks.problems = [str(error)]
    feedback = "\n".join(checks.problems) or "all checks passed"
    target = Path(logs)
    _clear(target)
    (target / "feedback.txt").write_text(feedback + "\n", encoding="utf-8")
    (target / "reward.json").write_text(json.dumps({"reward": reward}) + "\n", encoding="utf-8")
    print(feedback)


if __name__ == "__main__":
    main(sys.argv[1])
