"""``python -m benchmarks.mutants``: see docs/mutants.md.

What came of each mutant is kept below ``build/mutants``, and tried again when its module or a test
that runs it changes; so is what the tests cover. The table is printed, survivors with it.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import subprocess
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.mutants.covering import BUILD, PACKAGES, Covering, digest
from benchmarks.mutants.operators import Mutant, mutants_of
from benchmarks.mutants.trying import copy_of_project, share

_NETWORK = tuple(
    f"tests/sandboxes/test_{name}.py"
    for name in (
        "access",
        "forwarder",
        "http_head",
        "multiplex",
        "network_rules",
        "proxy",
        "relay_parts",
        "tls",
    )
)
AREAS = {
    "skillopt/core": ("tests/core",),
    "skillopt/gates": ("tests/gates",),
    "skillopt/evaluation": ("tests/evaluation", "tests/rollouts/judge/test_labels.py"),
    "skillopt/run": ("tests/run", "tests/training/test_remarks.py"),
    "skillopt/rollouts": (
        "tests/rollouts",
        "tests/tasks/test_questions.py",
        "tests/training/test_ahead.py",
        "tests/services/test_plans.py",
        "tests/run/test_limits.py",
    ),
    "skillopt/tasks": (
        "tests/tasks",
        "tests/optimizer/test_leak_guard.py",
        "tests/optimizer/test_leaks.py",
        "tests/setup",
        "tests/cli/test_harvest_command.py",
        "tests/cli/test_tasks_command.py",
        "tests/cli/test_own_image_commands.py",
        "tests/evaluation/test_draft_writer.py",
    ),
    "skillopt/deploy": ("tests/deploy",),
    "harnesses/gateway": ("tests/harnesses/gateway",),
    "harnesses/trajectories": ("tests/harnesses/trajectories",),
    "harnesses/protocols": ("tests/harnesses/protocols", "tests/harnesses/gateway/test_fitting.py"),
    "sandboxes/access.py": _NETWORK,
    "sandboxes/forwarder.py": _NETWORK,
    "sandboxes/http_head.py": _NETWORK,
    "sandboxes/multiplex.py": _NETWORK,
    "sandboxes/proxy.py": _NETWORK,
    "sandboxes/relay.py": _NETWORK,
    "sandboxes/stdio_relay.py": _NETWORK,
    "sandboxes/tls.py": _NETWORK,
}
"""What decides scores, statuses, permissions, costs, keys and bytes on disk; and the tests that are
for it. Others may run it too, and would notice more."""


HEAD = """\
| module | mutants | killed | survived | no test | timeouts | killed of all | branches |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
LEFT_OUT = (
    "skillopt/gates/rivals.py",
    "skillopt/gates/search.py",
    "skillopt/gates/simulation.py",
    "skillopt/tasks/quickstart/",
    "skillopt/tasks/words/",
)
"""What decides in no run: simulations that compare gates, and generators of example tasks. They are
tried if they are named."""


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("areas", nargs="*", default=[*AREAS], help="modules or folders of them")
    parser.add_argument("--changed", metavar="REV", help="only lines that differ from a commit")
    parser.add_argument("--tests", nargs="+", help="folders or files, in place of the area's own")
    parser.add_argument("--sample", type=int, default=1, help="one of so many mutants")
    parser.add_argument("--part", type=int, default=0, help="which of so many samples")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--sure", action="store_true", help="try survivors twice")
    parser.add_argument(
        "--survivors", action="store_true",
        help="of a module that is the same, only those that survived, whatever tests have changed",
    )  # fmt: skip
    parser.add_argument(
        "--coverage", action="store_true",
        help="try none: the branches that the fast tests take, by room of the three packages",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    if chosen.coverage:
        print(_coverage(covering(tuple(chosen.tests or ["tests"]))))
        return
    print(HEAD, flush=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    with (
        (BUILD / "survivors.txt").open("w") as survivors,
        TemporaryDirectory(prefix="mutants-", dir=_memory()) as folder,
    ):
        copies = [copy_of_project(Path(folder, str(n))) for n in range(chosen.workers)]
        for area in chosen.areas:
            found = []
            for module, lines in _modules(area, chosen.changed):
                source = module.read_text()
                mutants = [
                    mutant
                    for mutant in mutants_of(source)
                    if (lines is None or mutant.line in lines)
                    and _drawn(module, mutant, chosen.sample, chosen.part)
                ]
                if mutants:
                    tests = chosen.tests or _tests_of(str(module))
                    known = Known(covering(tuple(tests)), copies, chosen.sure, chosen.survivors)
                    came = known.tried(module, source, mutants)
                    branches = known.covering.branches(module)
                    print(_row(str(module), came, branches), flush=True)
                    survivors.writelines(line + "\n" for line in _shown(module, source, came))
                    survivors.flush()
                    found.append((came, branches))
            if len(found) > 1:
                taken, there = (sum(one[1][n] for one in found) for n in (0, 1))
                whole = [one for came, _ in found for one in came]
                print(_row(f"**{area}**", whole, (taken, there)), flush=True)
    print(f"\nSurvivors: {BUILD / 'survivors.txt'}")


def _tests_of(module: str) -> tuple[str, ...]:
    return next((tests for area, tests in AREAS.items() if module.startswith(area)), ("tests",))


@cache
def covering(tests: tuple[str, ...]) -> Covering:
    """What some tests cover, measured once."""
    return Covering(tests)


def _modules(area: str, revision: str | None) -> Iterator[tuple[Path, set[int] | None]]:
    """The modules of an area, with the lines that differ from a commit; all without one."""
    below = (one for one in sorted(Path(area).rglob("*.py")) if not str(one).startswith(LEFT_OUT))
    for module in [Path(area)] if Path(area).is_file() else below:
        lines = _changed_lines(module, revision) if revision else None
        if lines is None or lines:
            yield module, lines


def _drawn(module: Path, mutant: Mutant, sample: int, part: int) -> bool:
    """Whether a mutant is in a part of so many, the same ones each time."""
    name = f"{module} {mutant.operator} {mutant.occurrence}"
    return zlib.crc32(name.encode()) % sample == part


def _changed_lines(module: Path, revision: str) -> set[int]:
    command = ["git", "diff", "-U0", revision, "--", str(module)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: set[int] = set()
    for first, count in re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", said, re.MULTILINE):
        found |= set(range(int(first), int(first) + int(count or 1)))
    return found


class Known:
    """What came of the mutants of modules, also in earlier runs.

    Args:
        covering: the tests that run each line.
        copies: of the project; so many processes try mutants.
        sure: try each survivor once more in a new process.
        survivors: believe what was killed while its module is the same, also by a test that may
            have gone.
    """

    def __init__(
        self, covering: Covering, copies: Sequence[Path], sure: bool, survivors: bool
    ) -> None:
        self.covering, self._copies, self._sure = covering, copies, sure
        self._survivors = survivors

    def tried(self, module: Path, source: str, mutants: Sequence[Mutant]) -> list[dict[str, Any]]:
        """What came of some mutants of a module."""
        tests = self.covering.tests(module, source)
        files = {Path(test.partition("::")[0]) for own in tests.values() for test in own}
        state = [digest([module]), digest(files)]
        kept = BUILD / "tried" / f"{module}.json".replace("/", "-")
        known: dict[str, Any] = {}
        if kept.exists():
            saved = json.loads(kept.read_text())
            if saved["state"] == state:
                known = saved["tried"]
            elif self._survivors and saved["state"][0] == state[0]:
                known = {name: one for name, one in saved["tried"].items() if _killed(one)}
        missing = [mutant for mutant in mutants if mutant.name not in known]
        if missing:
            shares = [missing[n :: len(self._copies)] for n in range(len(self._copies))]
            jobs = [
                (copy, module, tests, self.covering.seconds, self._sure, share)
                for copy, share in zip(self._copies, shares, strict=True)
                if share
            ]
            with ProcessPoolExecutor(len(jobs), get_context("spawn")) as pool:
                for part in pool.map(share, jobs):
                    known |= part
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"state": state, "tried": known}, indent=0))
        found = [known[mutant.name] for mutant in mutants]
        return [one for one in found if one is not None]


def _killed(one: dict[str, Any] | None) -> bool:
    return one is None or one["outcome"] in ("killed", "timeout")


def _coverage(known: Covering) -> str:
    """A row for each room, and one for each package."""
    rooms: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for package in PACKAGES:
        for module in sorted(Path(package).rglob("*.py")):
            found = known.branches(module)
            room = "/".join(module.parts[:2]) if len(module.parts) > 2 else package
            rooms[f"`{room}`"].append(found)
            rooms[f"**all of {package}**"].append(found)
    rows = ["| room | branches | taken | share |", "| --- | ---: | ---: | ---: |"]
    for room, parts in rooms.items():
        taken, there = (sum(column) for column in zip(*parts, strict=True))
        rows.append(f"| {room} | {there} | {taken} | {100 * taken / max(1, there):.1f} % |")
    return "\n".join(rows)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _row(name: str, found: Sequence[dict[str, Any]], branches: tuple[int, int]) -> str:
    count = Counter(one["outcome"] for one in found)
    killed = sum(map(_killed, found))
    share = f"{100 * killed / len(found):.0f} %" if found else ""
    taken = f"{branches[0]} of {branches[1]}"
    return (
        f"| {name} | {len(found)} | {count['killed']} | {count['survived']} | {count['no test']} "
        f"| {count['timeout']} | {share} | {taken} |"
    )


def _shown(module: Path, source: str, found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each mutant that no test noticed, as a difference of lines."""
    for one in found:
        if not _killed(one):
            mutant = Mutant(**one["mutant"])
            yield f"{module}:{mutant.line} {mutant.name}: {one['outcome']}"
            new = mutant.source(source) or ""
            lines = difflib.unified_diff(source.splitlines(), new.splitlines(), n=0, lineterm="")
            yield from (f"    {line}" for line in list(lines)[3:])


if __name__ == "__main__":
    main()
