"""``make bench``: runs every benchmark, or ``python -m benchmarks soak`` those that are named, and
puts what they measure into ``benchmarks/results.json``."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks import (
    candidates,
    concurrency,
    cpu,
    gate_runs,
    gates,
    hostile,
    overhead,
    pages,
    peer,
    reports,
    scale,
    sessions,
    soak,
    startup,
    streams,
    workspaces,
)

PARTS = {
    "startup": startup.run,
    "pages": pages.run,
    "reports": reports.run,
    "gates": gates.run,
    "candidates": candidates.run,
    "gate_runs": gate_runs.run,
    "cpu": cpu.run,
    "overhead": overhead.run,
    "peer": peer.run,
    "streams": streams.run,
    "sessions": sessions.run,
    "workspaces": workspaces.run,
    "concurrency": concurrency.run,
    "scale": scale.run,
    "soak": soak.run,
    "hostile": hostile.run,
}


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


def main(names: list[str]) -> None:
    if unknown := set(names) - set(PARTS):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    target = Path(__file__).parent / "results.json"
    results = json.loads(target.read_text())
    for name in names or PARTS:
        print(f"== {name}", flush=True)
        results[name] = PARTS[name]()
        results["machine"] = machine()
        target.write_text(json.dumps(results, indent=2) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
