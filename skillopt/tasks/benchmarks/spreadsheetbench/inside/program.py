"""Runs solution.py on each input_N.xlsx of this folder, in a sandbox. The working directory gets
the outputs, named as in outputs.json. What the program prints is lost, its last error is not.

The last line is a JSON list: for each case why there is no output, or "".
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 120
HERE = Path(__file__).parent
ASSIGNED = re.compile(r"^\s*(INPUT_PATH|OUTPUT_PATH)\s*=\s*.+$", re.MULTILINE)
"""The paths are set from here; a program that sets them itself would miss the other cases."""
START = """
import os, runpy
paths = {name: os.environ[name] for name in ("INPUT_PATH", "OUTPUT_PATH")}
runpy.run_path(os.environ["SOLUTION"], init_globals=paths, run_name="__main__")
"""


def run(program: Path, source: Path, output: Path) -> str:
    if output.is_dir() and not output.is_symlink():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    paths = {"INPUT_PATH": str(source), "OUTPUT_PATH": str(output), "SOLUTION": str(program)}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", START], env=os.environ | paths, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0, os.SEEK_END)
        errors.seek(max(0, errors.tell() - 2000))
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    if code == 0 and output.is_file():
        return ""
    output.unlink(missing_ok=True)
    if code is None:
        return f"was ended after {SECONDS} s"
    last = lines[-1][:300] if lines else f"exit code {code}"
    return "wrote no file to OUTPUT_PATH" if code == 0 else f"failed: {last}"


def main() -> None:
    outputs = json.loads((HERE / "outputs.json").read_text())
    solution = Path("solution.py")
    if not solution.is_file():
        print(json.dumps(["is missing"] * len(outputs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "solution.py"
        program.write_text(ASSIGNED.sub("", solution.read_text("utf-8", "replace")), "utf-8")
        print(json.dumps([
            run(program, HERE / f"input_{number}.xlsx", Path.cwd() / name)
            for number, name in enumerate(outputs, start=1)
        ]))  # fmt: skip


if __name__ == "__main__":
    main()
