"""The main path on an engine that sees nothing of its user's files, as an ordinary user: a training
ends with the same result as where files are mounted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillopt import train
from tests.helpers.cells import ALL_CELLS
from tests.helpers.ordinary_user import OrdinaryUser, ordinary_user
from tests.helpers.small import small_config, untimed

SCRIPT = """
import json, sys
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from sandboxes.docker_backend import DockerBackend
from tests.integration.test_far_training import result
found = result(Path(mkdtemp()), sys.argv[1])
with closing(DockerBackend()) as backend:
    found["files"] = type(backend.files()).__name__
print(json.dumps(found))
"""
pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can hide files from an engine"),
]


def result(folder: Path, harness: str) -> dict[str, Any]:
    """What came of one epoch."""
    changes = {"train.epochs": 1, "workers": 2}
    done = train(small_config(folder, harness, **changes))
    history = json.loads((done.folder / "history.json").read_text("utf-8"))
    return {
        "skill": (done.folder / "best_skill.md").read_text("utf-8"),
        "history": untimed(history),
    }


@pytest.fixture(scope="module")
def user() -> Iterator[OrdinaryUser]:
    try:
        with ordinary_user(far=True) as found:
            yield found
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("harness", ["direct", "codex"])
def test_training_has_its_result_where_the_engine_sees_no_files(
    harness: str, user: OrdinaryUser, tmp_path: Path
) -> None:
    done = user.run([user.python, "-c", SCRIPT, harness])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("files") == "Copied"
    assert found["history"] and "rules" in found["skill"].lower()
    if ALL_CELLS:
        assert found == json.loads(json.dumps(result(tmp_path, harness)))
