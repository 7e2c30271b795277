"""``make flaky``: tests that fail now and then, found by running the fast ones again and again on a
machine that is busy with other things.

A test that fails here binds on a clock, a port, an order or a rest of another test. Mend it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.mutants.covering import FAST

BUILD = Path("build/flaky")


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module; exits with 1 if any test has failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flaky", description=__doc__)
    parser.add_argument("tests", nargs="*", default=["tests"], help="folders or files")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--load", type=int, default=2 * (os.cpu_count() or 1), metavar="PROCESSES")
    chosen = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    failed: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    with _load(chosen.load):
        for number in range(1, chosen.times + 1):
            began = time.monotonic()
            found = _run(chosen.tests, number)
            failed.update(found["failed"])
            for test, seconds in found["seconds"].items():
                slowest[test] = max(seconds, slowest.get(test, 0.0))
            took = time.monotonic() - began
            print(f"run {number}: {took:.0f} s, {len(found['failed'])} failed", flush=True)
    print("\n| test | failed | slowest |\n| --- | ---: | ---: |")
    for test, times in failed.most_common():
        print(f"| {test} | {times} of {chosen.times} | {slowest[test]:.1f} s |")
    longest = sorted(slowest, key=lambda test: -slowest[test])[:5]
    print("\nslowest:", *(f"{slowest[test]:.1f} s {test}" for test in longest), sep="\n  ")
    sys.exit(bool(failed))


def _run(tests: Sequence[str], number: int) -> dict[str, dict[str, float]]:
    """What failed and how long each test took; the output is kept."""
    timing, log = BUILD / "timing.json", BUILD / f"run-{number}.txt"
    timing.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.mutants.timing"]
    command += ["-m", FAST, "-n", os.environ.get("FAST_WORKERS", "3"), "--dist", "worksteal"]
    environment = os.environ | {"TESTS_TIMING": str(timing.resolve())}
    with log.open("w") as output:
        subprocess.run([*command, *tests], env=environment, stdout=output, stderr=output)
    if not timing.exists():
        sys.exit(f"no test was run, see {log}")
    found: dict[str, dict[str, float]] = json.loads(timing.read_text())
    return found


@contextmanager
def _load(processes: int) -> Iterator[None]:
    """Processes that compute, and write and sync a file, for as long as the block takes."""
    work = (
        "import os, tempfile\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    while True:\n"
        "        sum(range(2_000_000)); file.seek(0); file.write(bytes(1_000_000)); file.flush()\n"
        "        os.fsync(file.fileno())\n"
    )
    busy = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
