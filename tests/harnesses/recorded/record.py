"""Records what the real CLIs send: ``python -m tests.harnesses.recorded.record``, with an engine.

Each file is the last request of one rollout: after a thought, two calls at once of which one
failed, a picture, and for Codex a patch in free text. Long texts are cut and ids made alike;
run it again when a CLI's pinned version changes, and look at what differs.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harnesses.agents.registry import make_harness
from harnesses.base import Budget, ModelSpec, Request
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.wire import WIRE, read_wire
from harnesses.protocols.base import Conversation, ProtocolName, Reply, Thought, ToolCall
from sandboxes.base import Limits
from sandboxes.docker_backend import DockerBackend
from sandboxes.owner import scratch_dir
from skillopt.rollouts.slots import SandboxSlots
from tests.helpers.pictures import PATCH, PICTURE, picture
from tests.helpers.scripted_model import SHELLS, ScriptedAgentModel

HERE = Path(__file__).parent
MODELS = {
    "codex": "gpt-5.5",
    "codex-other-model": "sim-1",
    "claude-code": "claude-sonnet-5",
    "opencode": "sim-1",
}
KEPT = 160
"""Characters of a text."""
WHOLE = ("definition", "image_url", "data", "arguments", "input")
"""Fields that are kept as they are."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{64}")


THOUGHTS: dict[str, tuple[ProtocolName, str]] = {
    "exec_command": ("responses", "rs_1 c2VjcmV0"),
    "Bash": ("messages", "c2ln"),
    "bash": ("chat", "reasoning_content"),
}


def two_at_once(shown: Conversation) -> Reply:
    tool = next(t.name for t in shown.tools if t.name in SHELLS)
    commands = ("echo one", "ls /nowhere; exit 3")
    calls = tuple(
        ToolCall(f"call_{n}", tool, {SHELLS[tool]: command}) for n, command in enumerate(commands)
    )
    origin, seal = THOUGHTS[tool]
    thought = Thought("First I look.", seal, origin)
    return Reply("Two at once.", calls, stop="tool_calls", thoughts=(thought,))


def patch(shown: Conversation) -> Reply:
    if any(t.custom for t in shown.tools):
        call = ToolCall("call_3", "apply_patch", {"input": PATCH}, custom=True)
        return Reply("", (call,), stop="tool_calls")
    return Reply("It shows a dot.")


def scrubbed(value: Any) -> Any:
    """Without what differs from run to run, and without most of long texts."""
    if isinstance(value, dict):
        return {
            k: v if k in WHOLE and isinstance(v, str) else scrubbed(v) for k, v in value.items()
        }
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    if not isinstance(value, str):
        return value
    text = _HEX.sub("0" * 64, _UUID.sub("00000000-0000-0000-0000-000000000000", value))
    return text if len(text) <= KEPT else f"{text[: KEPT - 1]}…"


def record(harness: str, model: str, folder: Path, gateway: Gateway, slots: SandboxSlots) -> object:
    """The last request as the program made it."""
    (folder / "workspace").mkdir()
    (folder / "record").mkdir()
    (folder / "workspace" / "dot.png").write_bytes(base64.b64decode(PICTURE))
    request = Request(
        id="recorded", instruction="Look at dot.png and say what it shows.",
        image="skillopt/agent-base:1", workspace=folder / "workspace", workdir="/app", skill=None,
        model=ModelSpec("up", model), timeout_s=60, limits=Limits(), budget=Budget(), seed=1,
        env={}, record=folder / "record",
    )  # fmt: skip
    with slots.site() as site:
        # Or the gateway would take out what it does not pass on.
        outcome = make_harness(harness).run(request, replace(site, anywhere=True))
    print(harness, model, outcome.status, outcome.message)
    return dict(read_wire(folder / "record" / WIRE)[-1].request)


def main() -> None:
    for name, model in MODELS.items():
        # By number of results so far: two after the first turn.
        upstream = ScriptedAgentModel([two_at_once, patch, picture, patch])
        harness = name.removesuffix("-other-model")
        with (
            TemporaryDirectory(dir=scratch_dir()) as folder,
            closing(DockerBackend()) as backend,
            Gateway({"up": upstream}, Path(folder) / "s", lambda *_: 0.0) as gateway,
            SandboxSlots(gateway, backend, 1) as slots,
        ):
            last = record(harness, model, Path(folder), gateway, slots)
        text = json.dumps(scrubbed(last), indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
