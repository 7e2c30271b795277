"""Scores ``answer.txt`` of the working directory: ``verify.py LOG_FOLDER``.

Standalone: it is copied into each task's ``tests/`` beside ``data.json``.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def words(text: str) -> list[str]:
    """SQuAD's normal form: lower case, no punctuation, no articles."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(?:a|an|the)\b", " ", plain).split()


def f1(given: list[str], right: list[str]) -> float:
    """Harmonic mean of the words' precision and recall."""
    common = sum((Counter(given) & Counter(right)).values())
    return 2 * common / (len(given) + len(right)) if common else 0.0


def judged(answer: str, data: dict[str, Any]) -> tuple[float, float, str]:
    """Exact match, word F1 and feedback, which never holds the answer."""
    given = words(answer)
    scores = [(float(given == words(a)), f1(given, words(a))) for a in data["answers"]]
    exact, overlap = max(score[0] for score in scores), max(score[1] for score in scores)
    missed = f"No exact match; word F1 {overlap:.2f}. {data['hint']}"
    return exact, overlap, "Exact match." if exact else missed


def main(logs: Path) -> None:
    """Write ``reward.json`` and ``feedback.txt``."""
    data = json.loads((Path(__file__).parent / "data.json").read_text("utf-8"))
    file = Path("answer.txt")
    readable = file.is_file() and not file.is_symlink() and file.stat().st_size < 10_000
    answer = file.read_text("utf-8", errors="replace") if readable else ""
    exact, overlap, feedback = judged(answer, data)
    if not readable:
        feedback = "There is no readable answer.txt."
    (logs / "reward.json").write_text(json.dumps({"reward": exact, "f1": overlap}) + "\n")
    (logs / "feedback.txt").write_text(feedback + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
