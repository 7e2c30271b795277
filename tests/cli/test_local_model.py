"""A language model on this machine: the extra that it needs.

`tests/docs` trains one, and looks at it with `tests.helpers.local_model`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; find = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda n, *a: None if n == 'xllamacpp' else find(n, *a); "
        "from skillopt.cli import main; "
        "sys.argv = ['skillopt', 'doctor', '--model', 'smollm2:smollm2']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 1
    assert "pip install 'skillopt-harness[local]'" in done.stdout
