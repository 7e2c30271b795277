"""The script behind docs/compatibility.md counts what it is given, and writes its part alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.compatibility import measure, skills
from benchmarks.sources import Source

ROOT = Path(__file__).parents[2]
PLAIN = ROOT / "tests" / "helpers" / "plain_skills"


def a_folder(tmp_path: Path) -> Path:
    for name, text in {
        "good": "---\nname: good\ndescription: 'd' # why\n---\n# A\n\n- one\n- two\n",
        "broken": "---\nname: two: three\n---\n",
    }.items():
        (tmp_path / "skills" / name).mkdir(parents=True)
        (tmp_path / "skills" / name / "SKILL.md").write_text(text)
    return tmp_path / "skills"


def test_one_skill_is_read_edited_packaged_deployed_and_undone(tmp_path: Path) -> None:
    found = measure(a_folder(tmp_path) / "good")
    counts = found.counts
    assert all(counts[name] == 1 for name in ("found", "read", "identical", "packaged", "undone"))
    assert counts["append applied"] == 2 and counts["replace applied"] == 2
    assert not found.reasons and not any("touched" in name for name in +counts)


def test_what_is_refused_has_its_reason(tmp_path: Path) -> None:
    text = skills([Source("a", "1", a_folder(tmp_path)), Source("b", "2", PLAIN)], 1)
    assert "| a | 1 | 2 | 1 | 1 |" in text and "| b | 2 | 6 | 6 | 6 |" in text
    assert "| **hand-made** |  | 8 | 7 | 7 |" in text
    assert "not read: " in text and "not loaded: codex" in text


def test_only_its_part_of_the_document_is_written(tmp_path: Path) -> None:
    document = tmp_path / "compatibility.md"
    document.write_text("before\n<!-- skills: begin -->\nold\n<!-- skills: end -->\nafter\n")
    command = [sys.executable, "-m", "benchmarks.compatibility", "skills"]
    command += [f"mine@abc={a_folder(tmp_path)}", "--write", str(document)]
    subprocess.run(command, cwd=ROOT, check=True)
    text = document.read_text()
    assert text.startswith("before\n<!-- skills: begin -->\n| source |")
    assert text.endswith("\n<!-- skills: end -->\nafter\n") and "old" not in text
