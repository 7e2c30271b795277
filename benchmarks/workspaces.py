"""Where the time of a rollout goes whose workspace has thousands of files, part by part: in direct
chat with one shell call that changes one file, and a verifier.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from harnesses.agents.direct import Direct
from harnesses.base import Status
from skillopt.rollouts import rollout
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task

FILES, FOLDER_FILES, FILE_BYTES = 5000, 50, 2000
ROUNDS = 5
_JUDGE = "if [ -f answer.txt ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
_PARTS: dict[str, tuple[Any, str]] = {
    "first workspace": (Environments, "prepare"),
    "agent": (Direct, "run"),
    "unreadable and foreign entries": (rollout, "clean_workspace"),
    "changed files for people": (rollout, "_keep_changes"),
    "the work, to judge again": (rollout, "keep_work"),
    "digest of the inputs": (rollout, "given"),
    "copy for the verifier": (rollout, "_copy_to_judge"),
    "verifier": (rollout, "_judge"),
    "removal": (rollout, "remove_tree"),
}


def run() -> dict[str, dict[str, float]]:
    """Median milliseconds of each part, with few and with many files."""
    results = {}
    for files in (FOLDER_FILES, FILES):
        results[f"{files} files"] = found = _measured(files)
        print(f"{files} files: " + ", ".join(f"{k} {v:.0f} ms" for k, v in found.items()))
    return results


def _measured(files: int) -> dict[str, float]:
    model = ScriptedAgentModel(["echo right > answer.txt"])
    spent: dict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory() as name, _timed() as now:
        task = read_task(_task(Path(name) / "task", files))
        config = small_config(Path(name), "direct", workers=1)
        with prepare(config, plugins=Plugins(upstreams={"sim": model})).runner(
            lambda _: None
        ) as rollouts:
            for number in range(ROUNDS + 1):
                now.clear()
                began, cpu = time.perf_counter(), time.process_time()
                [done] = rollouts.rollouts([task], None, replicate=number)
                assert (done.status, done.reward.hard) == (Status.COMPLETED, 1.0), done.message
                whole = time.perf_counter() - began
                now["everything else"] = whole - sum(now.values())
                now["in all"], now["CPU of this process"] = whole, time.process_time() - cpu
                for part, seconds in now.items() if number else ():  # The first one fills caches.
                    spent[part].append(seconds * 1000)
    return {part: round(statistics.median(values), 1) for part, values in spent.items()}


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """The seconds in each part so far."""
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return act(*args, **named)
            finally:
                spent[part] += time.perf_counter() - began

        return call

    with ExitStack() as stack:
        for part, (owner, name) in _PARTS.items():
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield spent


def _task(folder: Path, files: int) -> Path:
    make_task(folder, _JUDGE)
    context = folder / "environment"
    (context / "Dockerfile").write_text(
        "FROM skillopt/agent-base:1\nWORKDIR /app\nCOPY data /app/data\n"
    )
    for number in range(files):
        file = context / "data" / f"{number // FOLDER_FILES:03d}" / f"{number:05d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number} " * (FILE_BYTES // 6))
    return folder
