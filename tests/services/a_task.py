"""The one task of these tests, and a config that runs it with a service."""

from __future__ import annotations

import shutil
from pathlib import Path

from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from tests.services.service import Service
from tests.services.wire import Protocol

TASK = """\
version = "1.0"
[agent]
timeout_sec = 3
[environment]
storage_mb = 512
"""
TEST = """\
r=0; [ "$(cat answer.txt 2>/dev/null)" = 42 ] && r=1
echo "{\\"reward\\": $r}" > "$VERIFIER_LOGS/reward.json"
"""
DOCKERFILE = "FROM skillopt/agent-base:1\nWORKDIR /app\n"


def config(folder: Path, service: Service, protocol: Protocol, **settings: object) -> Config:
    for split in ("train", "val", "test"):
        task = folder / "tasks" / split / f"write-{split}"
        (task / "environment").mkdir(parents=True)
        (task / "tests").mkdir()
        (task / "task.toml").write_text(TASK)
        (task / "instruction.md").write_text(f"Write 42 into answer.txt ({split}).\n")
        (task / "environment" / "Dockerfile").write_text(
            "FROM skillopt/agent-base:1\nWORKDIR /app\n"
        )
        (task / "tests" / "test.sh").write_text(TEST)
    upstream = {"kind": "openai-compatible", "base_url": service.url, "protocols": [protocol]}
    values = {
        "name": "services",
        "runs": str(folder / "runs"),
        "workers": 1,
        "tasks": {"source": str(folder / "tasks")},
        "skill": {"init": "empty", "name": "mine", "description": "Use it."},
        "harness": {"name": "direct"},
        "sandbox": {"kind": "local"},
        "target": {"upstream": "up", "name": "m"},
        "optimizer": {"upstream": "up", "name": "m"},
        "upstreams": {"up": upstream},
        "rollout_tries": 1,
        "patience": {"total": 5, "first_byte": 2},
        **settings,
    }
    file = folder / "config.yaml"
    file.write_text("{}")
    return load_config(file, Config, values)


def more_tasks(folder: Path, count: int) -> None:
    """Tasks besides, in the split that is evaluated."""
    split = folder / "tasks" / "test"
    for number in range(count):
        copy = split / f"write-{number}"
        shutil.copytree(split / "write-test", copy)
        (copy / "instruction.md").write_text(f"Write 42 into answer.txt (number {number}).\n")
