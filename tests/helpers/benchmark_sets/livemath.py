"""LiveMath's layout: a JSON file a month, with the right option apart from the wrong ones."""

from __future__ import annotations

import json
from pathlib import Path


def write(download: Path) -> list[str]:
    ids = []
    for month in ("202511", "202512"):
        rows = [_row(month, number) for number in range(1, 7)]
        folder = download / "data" / month
        folder.mkdir(parents=True)
        (folder / f"qa_{month}_final.json").write_text(json.dumps(rows))
        ids += [f"{row['month']}:{row['no']}" for row in rows]
    return ids


def _row(month: str, number: int) -> dict[str, object]:
    start = 2 * number + (10 if month == "202512" else 0)
    facts = [(n, n % 2 == 0) for n in range(start, start + 6)]
    listed = ", ".join(f"{n} is {'' if blue else 'not '}blue" for n, blue in facts)
    wrong = [
        "Some even Pell number is blue.",
        "Every Pell number is blue.",
        "No even Pell number is blue.",
        "Every odd Pell number is blue.",
    ]
    right = "Every even Pell number is blue."
    return {
        "month": month,
        "no": number,
        "paper_link": "http://arxiv.org/abs/0000.00000v1",
        "theorem": right,
        "sketch": "By looking.",
        "theorem_type": ["Universal"],
        "mcq": {
            "question": f"Of the Pell numbers here, {listed}. What holds for them?",
            "choices": [
                {"label": label, "text": t} for label, t in zip("BCDE", wrong, strict=True)
            ],
            "correct_choice": {"label": "A", "text": right},
            "meta": {},
            "sketch_usage_meta": {},
        },
    }
