"""``make bench``: runs every benchmark, prints a table, writes ``benchmarks/results.json``."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path

from benchmarks import concurrency, overhead, pages, startup


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    results: dict[str, object] = {"machine": machine()}
    for part in (startup, pages, overhead, concurrency):
        print(f"== {part.__name__.partition('.')[2]}", flush=True)
        results[part.__name__.partition(".")[2]] = part.run()
    target = Path(__file__).parent / "results.json"
    target.write_text(json.dumps(results, indent=2) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
