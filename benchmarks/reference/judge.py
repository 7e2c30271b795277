"""Judges the items as questions: the verifier of :mod:`benchmarks.reference.verify`, in process."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.reference.verify import judged
from skillopt import Reward, Task


def judge(task: Task, workspace: Path, answer: str) -> Reward:
    """Exact match of what is between the answer tags, with word F1 as a metric."""
    found = re.search(r"<answer>(.*?)</answer>", answer, re.DOTALL)
    data = json.loads((task.folder / "tests" / "data.json").read_text("utf-8"))
    exact, overlap, feedback = judged(found[1] if found else "", data)
    return Reward(exact, {"f1": overlap}, feedback)
