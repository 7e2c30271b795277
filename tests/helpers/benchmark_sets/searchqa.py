"""SearchQA's layout: Parquet with key, question, context, answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow
from pyarrow import parquet

PLACES = ("Korrin", "Velde", "Talvik", "Norrin", "Brask", "Ilmen", "Sarn", "Dovre", "Pellin",
          "Marek", "Ruda", "Halden")  # fmt: skip
TOWNS = ("Ostby", "Larvo", "Quillen", "Fenn", "Garde", "Aster", "Venn", "Toskby", "Lorne",
         "Mirel", "Edda", "Runa")  # fmt: skip


def write(download: Path) -> list[str]:
    rows = []
    for number, (place, town) in enumerate(zip(PLACES, TOWNS, strict=True)):
        other, elsewhere = PLACES[number - 1], TOWNS[number - 2]
        rows.append(
            {
                "key": f"{number:032x}",
                "question": f"In which town does the old mill of {place} stand?",
                "context": (
                    f"[DOC] [TLE] Mills [PAR] The old bridge of {other} stands in {elsewhere}. "
                    f"[DOC] [TLE] {place} [PAR] The old mill of {place} stands in {town}."
                ),
                "answers": [town],
            }
        )
    half = len(rows) // 2
    for name, part in (("train-0", rows[:half]), ("validation-0", rows[half:])):
        parquet.write_table(pyarrow.Table.from_pylist(part), download / f"{name}.parquet")
    return [row["key"] for row in rows]
