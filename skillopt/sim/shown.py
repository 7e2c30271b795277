"""What the simulated optimizer takes from a prompt: its sections, labels and fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A line of a prompt, or a fenced block with the line before it as its label."""

    section: str
    part: str
    label: str
    block: str | None = None


@dataclass(frozen=True)
class Shown:
    """What the simulated optimizer takes from a prompt."""

    entries: tuple[Entry, ...]

    @property
    def skill(self) -> str:
        return next((e.block for e in self.entries if e.section == "The skill" and e.block), "")

    @property
    def body(self) -> str:
        return self.skill.partition("\n---\n")[2].strip()

    @property
    def memory(self) -> str:
        found = (e.block for e in self.entries if e.section == "Rejected before" and e.block)
        return " ".join(next(found, "").split())

    def blocks(self, label: str) -> list[str]:
        """The fenced blocks under a label, in all sections."""
        return [e.block for e in self.entries if e.label == label and e.block is not None]

    def runs(self, *sections: str) -> list[tuple[str, str]]:
        """Task and feedback of each trajectory; of a pair, those of the later one.

        Args:
            sections: titles of the sections to read; all if none is given.
        """
        parts = dict.fromkeys(
            (e.section, e.part)
            for e in self.entries
            if e.part.startswith(("Trajectory ", "Pair "))
            and (not sections or e.section in sections)
        )
        found = []
        for part in parts:
            own = Shown(tuple(e for e in self.entries if (e.section, e.part) == part))
            task, feedback = own.blocks("Task:"), own.blocks("Verifier feedback:")
            found.append((task[-1] if task else "", feedback[-1] if feedback else ""))
        return found

    @property
    def notes(self) -> str:
        """The optimizer's own notes from earlier epochs."""
        return " ".join(e.block for e in self.entries if e.section == "Your notes" and e.block)

    def says(self, pattern: str) -> re.Match[str] | None:
        """The first line that matches."""
        matches = (re.search(pattern, entry.label) for entry in self.entries)
        return next((match for match in matches if match), None)

    def edits(self) -> list[dict[str, str]]:
        """The edits of a merge, rank or repair prompt, by field."""
        parts: dict[str, dict[str, str]] = {}
        for entry in self.entries:
            if entry.part.startswith("Edit "):
                fields = parts.setdefault(entry.part, {})
                name, _, value = entry.label.removeprefix("- ").partition(":")
                fields[name] = value.strip() if entry.block is None else entry.block
        return list(parts.values())


def read_prompt(prompt: str) -> Iterator[Entry]:
    """The prompt's lines and fenced blocks, by heading. Fenced text is never parsed."""
    section = part = label = fence = ""
    block: list[str] = []
    for line in prompt.split("\n"):
        if fence and line == fence:
            yield Entry(section, part, label, "\n".join(block))
            fence = ""
        elif fence:
            block.append(line)
        elif re.fullmatch(r"`{3,}", line):
            fence, block = line, []
        elif line.startswith("# "):
            section, part, label = line[2:], "", ""
        elif line.startswith("## "):
            part, label = line[3:], ""
        elif line.strip():
            label = line.strip()
            yield Entry(section, part, label)
