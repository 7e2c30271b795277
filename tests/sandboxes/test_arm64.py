"""The agents' programs for arm64, as the registry has them: their layout, and that they start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harnesses.agents import claude_code, codex
from harnesses.agents.toolchains import Toolchain
from sandboxes.images import dockerfiles
from tests.helpers.cells import ALL_CELLS

QEMU = shutil.which("qemu-aarch64-static")
LIBRARIES = "/usr/aarch64-linux-gnu"
ELF_AARCH64 = b"\xb7\x00"


@pytest.mark.slow
@pytest.mark.skipif(not ALL_CELLS, reason="fetches 150 MB: for `make test-all`")
@pytest.mark.parametrize(
    "toolchain", [codex.toolchain(), claude_code.toolchain()], ids=("codex", "claude-code")
)
def test_the_program_for_arm64_is_where_it_is_expected(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    build, registry = toolchain.build("aarch64"), os.environ.get("NPM_REGISTRY")
    fetch = [sys.executable, str(dockerfiles() / "toolchain/fetch.py"), "--root", build.root]
    fetch += ["--registry", registry or "https://registry.npmjs.org", "--into", str(tmp_path / "t")]
    subprocess.run([*fetch, build.package, build.version, *toolchain.keep], check=True)
    program = tmp_path / "t" / toolchain.program
    head = program.read_bytes()[:20]
    assert head[:4] == b"\x7fELF" and head[18:20] == ELF_AARCH64
    if QEMU is not None:
        shown = subprocess.run(
            [QEMU, "-L", LIBRARIES, str(program), "--version"], capture_output=True, text=True
        )
        assert toolchain.version in shown.stdout, shown.stderr
