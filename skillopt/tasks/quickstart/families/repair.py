"""A small command-line script to repair: misspelt names make it crash.

House convention: bad input, such as a missing file, ends a script with exit code 2.
"""

from __future__ import annotations

import random

from skillopt.tasks.quickstart.chore import PLACES, Chore, csv_bytes

_TOPICS = (
    ("stock", "warehouse", "quantity"), ("hours", "employee", "minutes"),
    ("visits", "branch", "visitors"), ("harvest", "field", "crates"),
    ("parcels", "depot", "parcels"), ("tickets", "venue", "seats"),
)  # fmt: skip
_COMBINE = {
    "total": "result.get(key, 0) + amount",
    "largest": "max(result.get(key, 0), amount)",
    "last": "amount",
}
_TYPOS = (
    ("totals.items()", "totals.itmes()"),
    ("combine(rows)", "combin(rows)"),
    ("totals = ", "totlas = "),
    ("result[key] =", "reslut[key] ="),
    ("strip()", "stripp()"),
)
_SCRIPT = '''"""Print the {how} {value} of each {key} in a CSV file: python3 {name} FILE."""

import csv
import sys


def read(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def combine(rows):
    result = {{}}
    for row in rows:
        key = row["{key}"].strip()
        amount = int(row["{value}"])
        result[key] = {expression}
    return result


def main(argv):
{reading}
    totals = combine(rows)
    for key, amount in sorted(totals.items()):
        print(f"{{key}},{{amount}}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
'''
_PLAIN = "    rows = read(argv[1])"
_GUARDED = """    try:
        rows = read(argv[1])
    except OSError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 2"""
_WORDINGS = (
    "The Python script `{name}` should print the {how} {value} of each {key} "
    "(`python3 {name} {sample}`), but it crashes. Please repair it in place.",
    "Somebody broke our script `{name}`: run `python3 {name} {sample}` and you will see. It is "
    "meant to print one line {key},{value} per {key} with the {how} {value}, sorted. Fix the "
    "script, keep its name.",
    "Repair `{name}`. The script used to list the {how} {value} per {key}; now "
    "`python3 {name} {sample}` only gives a traceback.",
)
_MISSING = (
    " When the input file does not exist it should not show a traceback either: print one line "
    "about it on standard error and end with an error.",
    " Also, a missing input file must give a one-line message on standard error and an error exit, "
    "no traceback.",
)


def make(rng: random.Random, trap: bool) -> Chore:
    """One script with one or two typos; with ``trap``, it also has no handling of bad input."""
    topic, key, value = rng.choice(_TOPICS)
    how = rng.choice(sorted(_COMBINE))
    name, sample = f"{topic}_{how}.py", f"{topic}.csv"
    wording = {"name": name, "sample": sample, "how": how, "key": key, "value": value}
    good = _SCRIPT.format(**wording, expression=_COMBINE[how], reading=_GUARDED)
    broken = good.replace(_GUARDED, _PLAIN) if trap else good
    for right, wrong in rng.sample(_TYPOS, rng.randint(1, 2)):
        broken = broken.replace(right, wrong, 1)
    instruction = rng.choice(_WORDINGS).format(**wording)
    tables = [_table(rng) for _ in range(2)]
    header = ["date", key, value]
    return Chore(
        title="Repair a script",
        instruction=instruction + (rng.choice(_MISSING) if trap else ""),
        files={name: broken.encode(), sample: csv_bytes(header, tables[0])},
        data={"target": name, "header": header, "how": how, "tables": tables},
        solution={name: good.encode()},
    )


def _table(rng: random.Random) -> list[list[str]]:
    places = rng.sample(PLACES, rng.randint(3, 6))
    return [
        [f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}", rng.choice(places), str(amount)]
        for amount in rng.choices(range(1, 500), k=rng.randint(10, 30))
    ]
