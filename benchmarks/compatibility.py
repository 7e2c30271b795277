"""What becomes of other people's skills and task sets: read, edited, packaged, deployed.

``python -m benchmarks.compatibility skills NAME@COMMIT=FOLDER …`` measures the skills of some
folders and prints a table; ``--write docs/compatibility.md`` puts it between the marks of its part
there. A folder without a ``SKILL.md`` stands for its Markdown files. Sources named with
``--generated`` are counted apart, as one program wrote all of their skills. Nothing is started:
what an agent would load is told by its rules, which an engine test compares with the agents.

``python -m benchmarks.compatibility tasks NAME@COMMIT=FOLDER …`` does the same for task sets, and
tries those tasks whose images can be had.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.sources import Found, Source, plain, reasons, table
from benchmarks.task_sets import tasks
from harnesses.agents.registry import CLI_AGENTS
from skillopt.core.skill import Skill, SkillError, read_skill, write_skill
from skillopt.core.skill_rules import not_loaded, objections
from skillopt.core.types import Edit
from skillopt.deploy.actions import deploy, undo, with_provenance
from skillopt.deploy.ledger import Ledger
from skillopt.deploy.packages import write_archive, write_plugin
from skillopt.deploy.places import Place, tree_digest
from skillopt.optimizer.edits import apply_edits
from skillopt.optimizer.markdown import leaves

NEW = "Always check the result before you finish the work."
KINDS = ("append", "note", "insert_after", "replace", "delete", "set_description")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print or write a part of the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("sources", nargs="+", metavar="NAME@COMMIT=FOLDER")
    parser.add_argument("--generated", action="append", default=[], metavar="NAME")
    parser.add_argument("--write", type=Path, help="the document")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    text = PARTS[chosen.part](
        [_source(text, chosen.generated) for text in chosen.sources], chosen.workers
    )
    if chosen.write is None:
        print(text)
        return
    begin, end = (f"<!-- {chosen.part}: {word} -->" for word in ("begin", "end"))
    before, _, rest = chosen.write.read_text("utf-8").partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        parser.error(f"{chosen.write}: has no {begin} … {end}")
    chosen.write.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def _source(text: str, generated: Sequence[str]) -> Source:
    named, _, folder = text.rpartition("=")
    name, _, commit = named.partition("@")
    if not Path(folder).is_dir() or not name:
        raise SystemExit(f"{text}: must be NAME@COMMIT=FOLDER, and the folder must be there")
    return Source(name, commit, Path(folder), name in generated)


def skills(sources: Sequence[Source], workers: int) -> str:
    """The tables on skills."""
    measured = {source: Found() for source in sources}
    with ProcessPoolExecutor(workers) as pool:
        jobs = [(source, path) for source in sources for path in _skills_of(source.folder)]
        results = pool.map(measure, [path for _, path in jobs], chunksize=4)
        for (source, _), found in zip(jobs, results, strict=True):
            measured[source].add(found)
    return "\n\n".join(
        [
            table(
                ["source", "commit", "found", "read", "identical when untouched",
                 "with objections", "packaged", *(f"{agent} loads" for agent in CLI_AGENTS),
                 "undeployed without a trace"],
                _rows(measured),
            ),
            table(
                ["edit", "applied", "refused", "touched something else"],
                [[f"`{kind}`", *_edits(measured, kind)] for kind in KINDS],
            ),
            reasons(measured.values()),
        ]
    )  # fmt: skip


PARTS: dict[str, Callable[[Sequence[Source], int], str]] = {"skills": skills, "tasks": tasks}
"""The parts of the document by name, which its marks there have."""


def _rows(measured: dict[Source, Found]) -> list[list[str]]:
    rows, hand, all_ = [], Found(), Found()
    for source, found in measured.items():
        rows.append([source.name, source.commit[:12], *_numbers(found)])
        all_.add(found)
        if not source.generated:
            hand.add(found)
    return [*rows, ["**hand-made**", "", *_numbers(hand)], ["**all**", "", *_numbers(all_)]]


def _numbers(found: Found) -> list[str]:
    counts = found.counts
    names = ["found", "read", "identical", "objected", "packaged"]
    names += [*(f"loaded {agent}" for agent in CLI_AGENTS), "undone"]
    return [f"{counts[name]:,}" for name in names]


def _edits(measured: dict[Source, Found], kind: str) -> list[str]:
    total = sum((f.counts for s, f in measured.items() if not s.generated), Counter[str]())
    return [f"{total[f'{kind} {what}']:,}" for what in ("applied", "refused", "touched")]


def _skills_of(folder: Path) -> Iterator[Path]:
    """The skills below a folder: folders with a ``SKILL.md`` in any case, or Markdown files."""
    found = [path for path in sorted(folder.rglob("*")) if path.name.lower() == "skill.md"]
    if found:
        yield from dict.fromkeys(path.parent for path in found)
    else:
        yield from (path for path in sorted(folder.rglob("*.md")) if path.stem != "README")


def measure(path: Path) -> Found:
    """One skill: read, written again, edited, packaged, deployed to every agent and undone.

    Args:
        path: a skill's folder, or a Markdown file.
    """
    found = Found(Counter(found=1))
    try:
        skill = read_skill(path)
    except SkillError as error:
        found.reasons[f"not read: {plain(str(error).removeprefix(str(path)))}"] += 1
        return found
    with TemporaryDirectory() as scratch:
        found.counts["read"] += 1
        found.counts["objected"] += bool(objections(skill))
        found.counts["identical"] += _is_identical(skill, path, Path(scratch))
        found.counts["packaged"] += _is_packaged(skill, Path(scratch))
        _deploy(skill, Path(scratch), found)
    _edit(skill, found)
    return found


def _is_identical(skill: Skill, path: Path, scratch: Path) -> bool:
    (scratch / "again").mkdir()
    again = scratch / "again" / skill.folder
    write_skill(skill, again)
    if path.is_file():
        return (again / "SKILL.md").read_bytes() == path.read_bytes()
    return _content(again) == _content(path)


def _content(folder: Path) -> dict[str, object]:
    """Bytes, modes and links of a folder. Nothing is left out: the sources are checkouts, which
    have no files of editors and caches."""
    found: dict[str, object] = {}
    for entry in folder.rglob("*"):
        name = str(entry.relative_to(folder))
        if entry.is_symlink():
            found[name] = str(entry.readlink())
        elif entry.is_file():
            found[name] = entry.read_bytes(), entry.stat().st_mode & 0o777
    return found


def _is_packaged(skill: Skill, scratch: Path) -> bool:
    ready = with_provenance(skill, {"run": "a-run"})
    write_plugin(ready, scratch / "plugin", "1.0.0")
    write_archive(ready, scratch / "packed.skill")
    again = read_skill(scratch / "plugin" / "skills" / skill.folder)
    return again.body == skill.body and again.files.keys() >= skill.files.keys()


def _deploy(skill: Skill, scratch: Path, found: Found) -> None:
    """Deploy to every agent that would load the skill, and undo it again."""
    clean = True
    for agent in CLI_AGENTS:
        reason = not_loaded(skill, agent)
        if reason:
            found.reasons[f"not loaded: {plain(reason)}"] += 1
            continue
        found.counts[f"loaded {agent}"] += 1
        home = scratch / agent
        (home / "skills").mkdir(parents=True)
        before = tree_digest(home)
        with Ledger(scratch / f"{agent}-ledger") as ledger:
            place = Place(agent, "user", "skill", home / "skills")
            entry = deploy(with_provenance(skill, {"run": "a-run"}), place, ledger, {})
            clean &= read_skill(home / "skills" / skill.folder).body == skill.body
            undo(entry, ledger)
        clean &= tree_digest(home) == before
    found.counts["undone"] += clean


def _edit(skill: Skill, found: Found) -> None:
    """Try every kind of edit, those with a target on the first, middle and last paragraph."""
    for edit in _tried(skill):
        changed, outcomes = apply_edits(skill, [edit], 1)
        if not outcomes[0].applied:
            found.counts[f"{edit.kind} refused"] += 1
            found.reasons[f"`{edit.kind}`: {plain(outcomes[0].reason)}"] += 1
            continue
        found.counts[f"{edit.kind} applied"] += 1
        found.counts[f"{edit.kind} touched"] += not _is_local(skill, changed, edit)


def _tried(skill: Skill) -> Iterator[Edit]:
    yield from (Edit("append", content=f"- {NEW}"), Edit("append", content=NEW))
    yield Edit("note", content=NEW)
    yield Edit("set_description", content="Use it for the new kind of work: all of it.")
    paragraphs = [
        leaf
        for leaf in leaves(skill.body)
        if leaf.kind == "paragraph" and skill.body.count(leaf.content) == 1
    ]
    middle = len(paragraphs) // 2
    for leaf in dict.fromkeys(
        [*paragraphs[:1], *paragraphs[middle : middle + 1], *paragraphs[-1:]]
    ):
        item = f"- {NEW}" if leaf.list_kind == "bullet_list" else NEW
        yield Edit("insert_after", leaf.content, item)
        yield Edit("replace", leaf.content, "Other words here.")
        yield Edit("delete", leaf.content)


def _is_local(before: Skill, after: Skill, edit: Edit) -> bool:
    """Whether an edit removed no more than its target, and what stood around it alone."""
    if edit.kind == "set_description":
        rest = before.text[before.text.rfind("\n---") :] if before.layout.text else ""
        return after.body == before.body and after.text.endswith(rest)
    old, new = before.text, after.text
    start = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    removed, target = ("".join(text.split()) for text in (old[start : len(old) - end], edit.target))
    return len(removed) <= len(target) + 4  # With the marker of a list's item.


if __name__ == "__main__":
    main()
