"""Each block of docs/services.md, and the command beside it, against its service on loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from click.testing import CliRunner, Result

from harnesses.base import ModelSpec
from harnesses.gateway.addresses import address
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import HttpUpstream
from harnesses.protocols.registry import PATHS
from skillopt.cli import main
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.config.upstreams import UpstreamsConfig
from skillopt.core.resources import resource
from skillopt.evaluation.evaluate import with_target
from skillopt.rollouts.upstreams import open_upstream
from tests.helpers.cells import ALL_CELLS
from tests.helpers.documents import ROOT, blocks
from tests.helpers.patience import QUICK
from tests.helpers.services import client, read_answer
from tests.services.vendors import AWS, KEY, OLD_LIMIT, ORDER, VENDORS, Vendor, spoken
from tests.services.wire import Answer, refused

DOCUMENT = "docs/services.md"
DOCUMENTED: dict[str, dict[str, Any]] = {
    name: block
    for found in blocks(DOCUMENT)
    if found.language == "yaml"
    for name, block in yaml.safe_load(found.text).items()
}
"""The blocks as they stand in the document, by name."""
COMMANDS = re.findall(
    r"^`skillopt (doctor --model ([\w-]+):(\S+?)(?: --config my-services\.yaml)?)`$",
    (ROOT / DOCUMENT).read_text("utf-8"),
    re.MULTILINE,
)
"""Its commands: all of it, the block's name and the model's."""
NAMES = sorted(VENDORS)
SOME = [name for at, name in enumerate(NAMES) if ALL_CELLS or at % 3 == 0]
"""A third of the blocks, where others of their kind are tried by other tests."""


@dataclass
class Played:
    """A service while it runs, and all that it was asked."""

    vendor: Vendor
    port: int
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        played: Played = self.server.played  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/token":
            assertion = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" in raw
            body = {"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"}
            self._send(Answer(200 if assertion else 400, json.dumps(body).encode()))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        scheme = played.vendor.url.partition(":")[0]
        url = f"{scheme}://{headers['host']}{self.path}"
        played.asked.append((url, json.loads(raw)))
        self._send(played.vendor.answer(url, headers, raw))

    def _send(self, answer: Answer) -> None:
        parts = [answer.body] if isinstance(answer.body, bytes) else list(answer.body)
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for part in parts:
            assert isinstance(part, bytes)
            self.wfile.write(part)


class ToLoopback(httpx2.AsyncHTTPTransport):
    """Leads every request to a port of this machine, as it is but for the encryption."""

    def __init__(self, port: int) -> None:
        super().__init__(verify=False)
        self._port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


@contextmanager
def played(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = server.played = Played(vendor, server.server_address[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()

        def led(self: HttpUpstream) -> httpx2.AsyncClient:
            if not self._clients:
                self._clients.append(httpx2.AsyncClient(transport=ToLoopback(service.port)))
            return self._clients[0]

        monkeypatch.setattr(HttpUpstream, "_client", led)
        try:
            yield service
        finally:
            server.shutdown()
            thread.join(5)


def account(service: Played, block: dict[str, Any], folder: Path, env: pytest.MonkeyPatch) -> None:
    """Give the service's user a key or a login."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        env.delenv(name, raising=False)
    env.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    env.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    if block.get("key_env"):
        env.setenv(block["key_env"], KEY)
    elif service.vendor.login == "aws":
        for name, value in AWS.items():
            env.setenv(name, value)
    elif service.vendor.login == "google":
        env.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google_account(folder, service.port)))


def google_account(folder: Path, port: int) -> Path:
    """The file of a service account whose tokens are given out at a port."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    email, uri = "me@project.iam.gserviceaccount.com", f"http://127.0.0.1:{port}/token"
    file = folder / "account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "client_email": email,
                "token_uri": uri,
                "private_key": key.decode(),
            }
        )
    )
    return file


def config(name: str, folder: Path, block: dict[str, Any] | None = None) -> Path:
    """The block as a file of the user's."""
    file = folder / "my-services.yaml"
    file.write_text(yaml.safe_dump({"upstreams": {name: block or DOCUMENTED[name]}}))
    return file


def doctor(name: str, model: str, file: Path) -> Result:
    return CliRunner().invoke(main, ["doctor", "--model", f"{name}:{model}", "--config", str(file)])


def is_told(done: Result, words: str) -> None:
    """A refusal is shown in the service's words, without a key and without a traceback."""
    assert done.exit_code == 1 and words in done.output, done.output
    for secret in (KEY, *AWS.values()):
        assert secret not in done.output
    assert "Traceback" not in done.output and "<html" not in done.output


@contextmanager
def session(name: str, folder: Path) -> Iterator[Session]:
    block = load_config(config(name, folder), UpstreamsConfig).upstreams[name]
    with (
        open_upstream(block) as upstream,
        Gateway({name: upstream}, folder / "s", lambda *_: None, QUICK) as gateway,
        gateway.open(Grant(ModelSpec(name, VENDORS[name].model), 1, folder)) as opened,
    ):
        yield opened


def test_every_block_is_played_and_every_service_documented() -> None:
    packaged = load_config(resource("configs") / "upstreams.yaml", UpstreamsConfig).upstreams
    assert DOCUMENTED.keys() == VENDORS.keys() == packaged.keys() - {"sim", "smollm2", "chatgpt"}
    assert all(vendor.sources for vendor in VENDORS.values())
    assert {name for _, name, _ in COMMANDS} <= VENDORS.keys() and len(COMMANDS) >= 17
    for _, name, model in COMMANDS:
        assert model == VENDORS[name].model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_the_block_as_documented_works(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = VENDORS[name]
    with played(vendor, monkeypatch) as service:
        account(service, DOCUMENTED[name], tmp_path, monkeypatch)
        done = doctor(name, vendor.model, config(name, tmp_path))
    assert done.exit_code == 0, done.output
    assert f"protocol: {spoken(vendor.url)}" in done.output and "JSON schema: kept" in done.output
    tries = 1 + (not vendor.old_limit and "max_tokens" in service.asked[0][1])
    assert [url for url, _ in service.asked] == [vendor.urls[spoken(vendor.url)]] * tries


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_stream_with_its_habits_is_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = VENDORS[name]
    with played(vendor, monkeypatch) as service:
        account(service, DOCUMENTED[name], tmp_path, monkeypatch)
        with session(name, tmp_path) as opened, client(opened, opened.token) as http:
            for protocol in vendor.urls:
                path = next(path for path, spoken in PATHS.items() if spoken == protocol)
                shown = [{"role": "user", "content": "hi"}]
                asked = {"input" if protocol == "responses" else "messages": shown}
                limits = {} if protocol == "responses" else {"max_tokens": 99}
                body = {"model": vendor.model, "stream": True, **limits, **asked}
                answer = http.post(path, json=body)
                assert answer.status_code == 200, answer.text
                kind = answer.headers["content-type"].partition(";")[0]
                assert read_answer(protocol, kind, answer.content).text == ORDER
    replies = [exchange.reply for exchange in opened.exchanges]
    assert [reply and reply.text for reply in replies] == [ORDER] * len(vendor.urls)
    assert opened.usage.completion_tokens > 0
    assert bool(opened.usage.estimated) == (vendor.habit == "no usage")
    # Vertex has another verb for streams, with a capital letter after the first word.
    assert {url.replace(":stream", ":") for url, _ in service.asked} == {
        url.replace(":raw", ":Raw") for url in vendor.urls.values()
    }
    assert KEY not in (tmp_path / "wire.jsonl").read_text()


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("name", [name for name in NAMES if VENDORS[name].said[0]])
@pytest.mark.slow
def test_a_refused_key_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = VENDORS[name]
    with played(vendor, monkeypatch) as service:
        account(service, DOCUMENTED[name], tmp_path, monkeypatch)
        service.vendor = replace(vendor, login="", key=("authorization", "never "))
        done = doctor(name, vendor.model, config(name, tmp_path))
    is_told(done, vendor.said[0])
    to_check = vendor.login or DOCUMENTED[name]["key_env"]
    assert to_check in done.output or "status 400" in done.output


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("name", SOME)
@pytest.mark.slow
def test_an_unknown_model_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with played(VENDORS[name], monkeypatch) as service:
        account(service, DOCUMENTED[name], tmp_path, monkeypatch)
        is_told(doctor(name, "gone-1", config(name, tmp_path)), VENDORS[name].said[1])


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("name", SOME)
@pytest.mark.slow
def test_a_wrong_address_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = DOCUMENTED[name]
    base = block.get("base_url") or VENDORS[name].url.partition("/v1/")[0]
    wrong = re.sub(r"^(https?://[^/]+)(/inference)?", r"\1/wrong", base)
    with played(VENDORS[name], monkeypatch) as service:
        account(service, block, tmp_path, monkeypatch)
        file = config(name, tmp_path, block | {"base_url": wrong})
        done = doctor(name, VENDORS[name].model, file)
    is_told(done, VENDORS[name].said[2])
    if "status 404" in done.output:
        assert f"at {wrong.lower().rstrip('/')[:20]}" in done.output.lower()


AT = "https://h.example"


@pytest.mark.parametrize(
    ("kind", "base", "protocol", "options", "right"),
    [
        ("openai-compatible", "", "chat", {}, "/v1/chat/completions"),
        ("openai-compatible", "/", "chat", {}, "/v1/chat/completions"),
        ("openai-compatible", "/v1", "chat", {}, "/v1/chat/completions"),
        ("openai-compatible", "/v1/", "responses", {}, "/v1/responses"),
        ("openai-compatible", "/api/paas/v4", "chat", {}, "/api/paas/v4/chat/completions"),
        ("openai-compatible", "/v1beta/openai/", "chat", {}, "/v1beta/openai/chat/completions"),
        ("openai-compatible", "/v1/a/b/openai", "chat", {}, "/v1/a/b/openai/chat/completions"),
        ("openai-compatible", "/openai", "chat", {}, "/openai/v1/chat/completions"),
        ("openai-compatible", "/inference/chat/completions", "chat", {},
         "/inference/chat/completions"),
        ("openai-compatible", "/v1/chat/completions", "responses", {}, "/v1/responses"),
        ("openai-compatible", "/x?k=v&v=1", "chat", {}, "/x/v1/chat/completions?k=v&v=1"),
        ("openai-compatible", "/v1?api-version=2", "chat", {},
         "/v1/chat/completions?api-version=2"),
        ("anthropic", "/v1/acc/gw/anthropic", "messages", {}, "/v1/acc/gw/anthropic/v1/messages"),
        ("anthropic", "/anthropic/v1/messages", "messages", {}, "/anthropic/v1/messages"),
        ("azure-openai", "/openai/v1/", "responses", {}, "/openai/v1/responses"),
        ("azure-openai", "/openai", "responses", {}, "/openai/v1/responses"),
        ("azure-openai", "/openai/", "chat", {"api_version": "2024-10-21"},
         "/openai/deployments/a%2Fb%3Ac/chat/completions?api-version=2024-10-21"),
        ("azure-openai", "/openai/deployments/x/chat/completions?api-version=9", "chat", {},
         "/openai/deployments/x/chat/completions?api-version=9"),
        ("azure-openai", "?api-version=preview", "responses", {},
         "/openai/v1/responses?api-version=preview"),
        ("bedrock", "/openai/v1", "chat", {}, "/openai/v1/chat/completions"),
        ("bedrock", "/v1", "chat", {}, "/v1/chat/completions"),
        ("bedrock", "/anthropic", "messages", {}, "/anthropic/v1/messages"),
        ("vertex", "/v1/projects/p/locations/l/endpoints/openapi/", "chat", {},
         "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"),
        ("vertex", "/v1/projects/p/locations/l", "messages", {"stream": True},
         "/v1/projects/p/locations/l/publishers/anthropic/models/a%2Fb%3Ac:streamRawPredict"),
    ],
)  # fmt: skip
def test_an_address_is_taken_as_services_write_it(
    kind: str, base: str, protocol: Any, options: dict[str, Any], right: str
) -> None:
    assert address(kind, AT + base, protocol, "a/b:c", **options) == AT + right


BETA = "Unexpected value(s) `effort-2025-11-24` for the `anthropic-beta` header."


@pytest.mark.parametrize(
    ("said", "left"), [(BETA, "claude-code-20250219"), ("invalid beta flag", None)]
)
def test_a_refused_beta_is_left_out_from_then_on(
    said: str, left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str | None] = []

    class Picky(Vendor):
        def answer(self, url: str, headers: Any, raw: bytes) -> Answer:
            sent.append(headers.get("anthropic-beta"))
            bad = "effort" in (sent[-1] or "") or (left is None and sent[-1])
            return refused(400, said) if bad else super().answer(url, headers, raw)

    name = "vertex-claude"
    vendor = Picky(**vars(VENDORS[name]))
    both = "claude-code-20250219,effort-2025-11-24"
    with played(vendor, monkeypatch) as service:
        account(service, DOCUMENTED[name], tmp_path, monkeypatch)
        with session(name, tmp_path) as opened, client(opened, opened.token) as http:
            for _ in range(2):
                shown = [{"role": "user", "content": "hi"}]
                body = {"model": vendor.model, "max_tokens": 9, "messages": shown}
                answer = http.post("/v1/messages", json=body, headers={"anthropic-beta": both})
                assert answer.status_code == 200, answer.text
    assert sent == [both, left, left]


def test_a_service_that_goes_on_refusing_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(Vendor):
        def answer(self, url: str, headers: Any, raw: bytes) -> Answer:
            return refused(400, OLD_LIMIT)

    vendor = Stubborn(**vars(VENDORS["github"]))
    with played(vendor, monkeypatch) as service:
        account(service, DOCUMENTED["github"], tmp_path, monkeypatch)
        with session("github", tmp_path) as opened, client(opened, opened.token) as http:
            shown = [{"role": "user", "content": "hi"}]
            body = {"model": vendor.model, "max_tokens": 9, "messages": shown}
            assert http.post("/v1/chat/completions", json=body).status_code == 400
    assert len(service.asked) <= 4 and "max_completion_tokens" in service.asked[-1][1]


@pytest.mark.parametrize(
    ("name", "words"),
    [("bedrock-login", "aws configure"), ("vertex", "gcloud auth application-default login")],
)
def test_a_login_that_is_missing_is_told(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (*AWS, "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    with played(VENDORS[name], monkeypatch) as service:
        is_told(doctor(name, VENDORS[name].model, config(name, tmp_path)), words)
    assert service.asked == []


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("bedrock-login", "botocore", "aws"), ("vertex", "google", "google")],
)
def test_an_extra_that_is_missing_is_named(
    name: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for module in [*sys.modules, f"{package}.auth", f"{package}.session"]:
        if module.split(".")[0] == package:
            monkeypatch.setitem(sys.modules, module, None)
    with played(VENDORS[name], monkeypatch):
        done = doctor(name, VENDORS[name].model, config(name, tmp_path))
    is_told(done, f"pip install 'skillopt-harness[{extra}]'")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("direct", ("up", "qwen3.5:35b")),
        ("direct:qwen3.5:35b", ("up", "qwen3.5:35b")),
        ("direct:up:qwen3.5:35b", ("up", "qwen3.5:35b")),
        ("direct:up:gemma:7b", ("up", "gemma:7b")),
        ("direct:other:gemma:7b", ("other", "gemma:7b")),
        ("direct:other:google/flash", ("other", "google/flash")),
        ("direct:google/flash", ("up", "google/flash")),
    ],
)
def test_a_place_with_a_colon_in_its_models_name_is_found(
    text: str, place: tuple[str, str], tmp_path: Path
) -> None:
    model = {"upstream": "up", "name": "qwen3.5:35b"}
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "x",
                "tasks": {"source": "quickstart"},
                "skill": {"init": "quickstart"},
                "harness": {"name": "direct"},
                "target": model,
                "optimizer": model,
                "upstreams": {"up": {"kind": "sim"}, "other": {"kind": "sim"}},
                "transfer": {"to": [text]},
            }
        )
    )
    config = load_config(tmp_path / "c.yaml", Config)
    target = with_target(config, config.place(text)[1]).target
    assert (target.upstream, target.name) == place
