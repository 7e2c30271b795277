"""The folders of a task in containers: each agent can read them, and none can change anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harnesses.agents.registry import NAMES
from harnesses.base import Status
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine

ATTACKS = (
    "echo x > /corpus/sub/a.txt",
    "echo x >> /corpus/b.txt",
    "touch /corpus/new /corpus/sub/new",
    "mkdir /corpus/folder",
    "rm -rf /corpus/sub",
    "mv /corpus/b.txt /corpus/c.txt",
    "chmod -R a+w /corpus",
    "touch -d 2001-01-01 /corpus/b.txt",
    "ln /corpus/b.txt /app/linked && echo x > /app/linked",
    "ln -s /corpus/b.txt /app/link; echo x > /app/link",
    "cd /corpus/sub && echo x > ../b.txt",
    "mount -o remount,rw /corpus",
    "umount /corpus && echo x > /corpus/b.txt",
    "echo x > /proc/self/root/corpus/b.txt",
)


def state(folder: Path) -> list[tuple[object, ...]]:
    """All that a change would show in."""
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        known = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append(
            (path, known.st_mode, known.st_uid, known.st_nlink, known.st_mtime_ns, content)
        )
    return found


@pytest.mark.parametrize("harness", NAMES)
def test_an_agent_reads_a_folder_and_cannot_change_it(
    harness: str, lab: MakeLab, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("apples 17\n")
    (folder / "b.txt").write_text("pears 4\n")
    # Linked as the files of a benchmark are, and writable by everybody.
    os.link(folder / "b.txt", tmp_path / "download.txt")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    before = state(folder)
    model = ScriptedAgentModel(["grep -rh apples /corpus; id -u", "bash ./attack"])
    here = lab(model)
    request = here.request(folders={"/corpus": folder}, timeout_s=180)
    assert request.workspace is not None
    tries = [f"({attack}) && echo worked: {number}" for number, attack in enumerate(ATTACKS)]
    (request.workspace / "attack").write_text("\n".join([*tries, "echo tried: $?"]))
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "apples 17" in model.outputs[0]
    assert "tried: 1" in model.outputs[1] and "worked: " not in model.outputs[1]
    assert state(folder) == before
