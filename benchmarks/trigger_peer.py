"""The description of the quickstart's skill by skill-creator's loop (github anthropics/skills),
with the queries, the neighbours and the scripted model of ``benchmarks/triggers``.

``python -m benchmarks.trigger_peer SKILL_CREATOR OUT [WORKERS]`` takes the folder of that skill and
writes what it found to ``OUT/skill/house-rules``, for ``skillopt eval``. It runs Claude Code on
this machine without a sandbox, as that loop does. The test queries are kept from it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peer import program_into
from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from sandboxes.forwarder import Forwarder
from skillopt.config.inputs import read_config
from skillopt.sim.describing import improved
from skillopt.sim.model import ALL, SimUpstream
from skillopt.tasks.sources import load_splits

ROOT = Path(__file__).parent / "triggers"
ASKED = "You are optimizing a skill description"
ITERATIONS = 3


@dataclass
class Model:
    """The simulated model, which also answers the loop's request for a description."""

    sim: SimUpstream = field(default_factory=SimUpstream)
    protocols: frozenset[ProtocolName] = ALL
    max_concurrency: int = 100

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        prompt = "\n".join(message.text for message in shown.messages if message.role == "user")
        if ASKED not in prompt:
            return await self.sim.send(call)
        assert shown.stream, "Claude Code asks for streams"
        events = list(codec.write_stream(_description(prompt), shown.model, "1"))
        return Answer(200, "text/event-stream", _all(events))

    async def close(self) -> None:
        """Nothing to close."""


def _description(prompt: str) -> Reply:
    old = re.search(r'<current_description>\n"(.*?)"\n</current', prompt, re.DOTALL)
    missed, won = (
        re.findall(r'^  - "(.*)" \(triggered', part[1], re.MULTILINE) if part else []
        for part in (
            re.search(rf"^{title}.*?\n(.*?)\n\n", prompt, re.DOTALL | re.MULTILINE)
            for title in ("FAILED TO TRIGGER", "FALSE TRIGGERS")
        )
    )
    text = improved(old[1] if old else "", missed, won)
    return Reply(f"<new_description>{text}</new_description>")


async def _all(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def main(skill_creator: Path, out: Path, workers: int = 1) -> None:
    """Run the loop, and print its own score and the number of model calls."""
    config = read_config(ROOT / "claude-code.yaml")
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        splits = load_splits(config.tasks, config.seed, folder / "made")
        known = [task for split in (splits["train"], splits["val"]) for task in split]
        queries = [
            {"query": t.instruction, "should_trigger": bool(t.triggers and t.triggers.opened)}
            for t in known
        ]
        (folder / "queries.json").write_text(json.dumps(queries))
        project = folder / "project"
        for path in config.skill.beside:
            shutil.copytree(path, project / ".claude" / "skills" / path.name)
        program_into(folder)
        gateway = stack.enter_context(Gateway({"up": Model()}, folder / "s", lambda *_: 0.0))
        session = stack.enter_context(gateway.open(Grant(ModelSpec("up", "sim-1"), 1)))
        port = stack.enter_context(Forwarder(gateway.socket)).port
        argv = [sys.executable, "-m", "scripts.run_loop", "--model", "sim-1", "--verbose"]
        argv += ["--eval-set", str(folder / "queries.json"), "--report", "none"]
        argv += ["--skill-path", str((ROOT / "house-rules").resolve()), "--holdout", "0.33"]
        argv += ["--max-iterations", str(ITERATIONS), "--num-workers", str(workers)]
        argv += ["--runs-per-query", "1"]
        done = subprocess.run(
            argv, cwd=project, env=_environment(folder, skill_creator, session.token, port),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout[done.stdout.index("{") :])
        calls = session.requests
    skill = out / "skill" / "house-rules"
    shutil.copytree(ROOT / "house-rules", skill, ignore=shutil.ignore_patterns("evals"))
    text = (skill / "SKILL.md").read_text()
    line = json.dumps(found["best_description"])
    (skill / "SKILL.md").write_text(
        re.sub(r"^description: .*$", lambda _: f"description: {line}", text, flags=re.MULTILINE)
    )
    print(json.dumps({"own score": found["best_score"], "calls": calls, "skill": str(skill)}))


def _environment(folder: Path, skill_creator: Path, token: str, port: int) -> dict[str, str]:
    names = ("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
    (folder / "home").mkdir()
    return {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": token,
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
        **dict.fromkeys(names, "sim-1"),
        "HOME": str(folder / "home"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(skill_creator.resolve()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
