"""Has LibreOffice compute the formulas of the outputs in the working directory, named as in
outputs.json, by saving each again. One that it cannot open stays as it is.

The last line is a JSON list: for each output why it was not computed, or "".
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 120
CANNOT_BEGIN = 69
HERE = Path(__file__).parent


def recalculate(book: Path, program: str) -> str:
    if not book.is_file():
        return "there is no such file"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless",
            "--calc", "--convert-to", "xlsx:Calc MS Excel 2007 XML",
            "--outdir", str(folder / "made"), str(book),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, timeout=SECONDS, capture_output=True, env=os.environ | {"HOME": name}
            )
        except subprocess.TimeoutExpired:
            return f"LibreOffice took more than {SECONDS} s"
        made = folder / "made" / f"{book.stem}.xlsx"
        if done.returncode != 0 or not made.is_file():
            return f"LibreOffice could not open it (exit code {done.returncode})"
        book.unlink()
        shutil.move(made, book)
    return ""


def main() -> None:
    outputs = json.loads((HERE / "outputs.json").read_text())
    program = shutil.which("soffice")
    if program is None:
        print("there is no soffice in this image: run 'skillopt images build libreoffice'")
        sys.exit(CANNOT_BEGIN)
    print(json.dumps([recalculate(Path.cwd() / name, program) for name in outputs]))


if __name__ == "__main__":
    main()
