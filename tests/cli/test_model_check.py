"""``skillopt doctor --model``, and the blocks by which a config names model services."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from harnesses.base import Usage
from harnesses.protocols.base import Reply
from harnesses.protocols.registry import CODECS
from skillopt.cli import main
from skillopt.config.loading import ConfigError, load_config
from skillopt.config.schema import Config
from skillopt.config.upstreams import UpstreamsConfig
from skillopt.core.resources import resource
from tests.helpers.services import KEY, serve

CONFIG = """\
name: x
tasks: {source: quickstart}
skill: {init: quickstart}
target: {upstream: up, name: known-1}
optimizer: {upstream: up, name: known-1}
prices: prices.yaml
upstreams:
  up: %s
"""
PRICES = "date: 2026-11-25\nmodels:\n  known-*: {prompt: 2.0, cached: 1.0, completion: 4.0}\n"
ORDER = '{"reasoning": "sorted", "order": [1, 2, 3]}'


def doctor(folder: Path, block: str, model: str, *options: str) -> Result:
    (folder / "c.yaml").write_text(CONFIG % block)
    (folder / "prices.yaml").write_text(PRICES)
    config = (folder / "c.yaml").read_text().replace("prices.yaml", str(folder / "prices.yaml"))
    (folder / "c.yaml").write_text(config)
    argv = ["doctor", "--model", model, "--config", str(folder / "c.yaml"), *options]
    return CliRunner().invoke(main, argv)


class Service:
    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[dict[str, Any]] = []

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            told = f"Incorrect API key: {request.headers.get('authorization')}"
            return JSONResponse({"error": {"message": told}}, 401)
        if body["model"] != "known-1":
            return JSONResponse({"error": {"message": "model not found"}}, 404)
        reply = Reply(self.text, usage=Usage(1, 1000, 200, 50))
        return JSONResponse(CODECS["chat"].write_response(reply, "known-1-2026", "1"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


def block(url: str, key: str = "TEST_KEY") -> str:
    return f'{{kind: openai-compatible, base_url: "{url}", key_env: {key}}}'


def test_one_request_tells_model_protocol_latency_tokens_and_price(tmp_path: Path) -> None:
    service = Service(ORDER)
    with serve(service.answer) as url:
        done = doctor(tmp_path, block(url), "known-1")
        assert done.exit_code == 0, done.output
        for line in (
            "model: known-1-2026 of upstream up", "protocol: chat", "JSON schema: kept",
            "tokens: 1000 in (200 cached), 50 out", "price: 0.002000 USD",
        ):  # fmt: skip
            assert line in done.output
        assert re.search(r"latency: \d+\.\d\d s", done.output)
        told = json.loads(doctor(tmp_path, block(url), "up:known-1", "--json").output)
        assert (told["protocol"], told["usage"]["cost_usd"], told["error"]) == ("chat", 0.002, "")
    assert len(service.asked) == 2
    assert service.asked[0]["response_format"]["json_schema"]["name"] == "Ranking"


def test_a_schema_that_is_silently_ignored_is_noticed(tmp_path: Path) -> None:
    with serve(Service("One, two, three.").answer) as url:
        done = doctor(tmp_path, block(url), "known-1")
    assert done.exit_code == 0
    assert "JSON schema: not kept: response_format" in done.output


@pytest.mark.parametrize(
    ("model", "env", "said"),
    [
        ("known-1", "MISSING_KEY", "MISSING_KEY is not set: put the key there"),
        ("known-1", "OTHER_KEY", "check the key in OTHER_KEY"),
        ("gone-1", "TEST_KEY", "does not know 'gone-1'"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(
    model: str, env: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-wrong")
    with serve(Service(ORDER).answer) as url:
        done = doctor(tmp_path, block(url, env), model)
    assert done.exit_code == 1 and said in done.output
    assert KEY not in done.output and "sk-wrong" not in done.output


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.slow
def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = doctor(tmp_path, block("http://127.0.0.1:9"), "known-1")
    assert done.exit_code == 1 and "is the service running, and is base_url right?" in done.output


def test_without_a_config_the_usual_services_are_known() -> None:
    done = CliRunner().invoke(main, ["doctor", "--model", "sim:sim-1"])
    assert done.exit_code == 0 and "JSON schema: kept" in done.output
    done = CliRunner().invoke(main, ["doctor", "--model", "gpt-5.5"])
    assert done.exit_code == 2 and "use UPSTREAM:NAME" in done.stderr


def test_the_example_blocks_are_valid() -> None:
    upstreams = load_config(resource("configs") / "upstreams.yaml", UpstreamsConfig).upstreams
    kinds = {upstream.kind for upstream in upstreams.values()}
    assert kinds >= {"openai", "azure-openai", "anthropic", "openai-compatible", "sim"}


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{kind: openai, key_env: sk-secret-1}", "not the key itself"),
        ("{kind: azure-openai}", "base_url is required for an upstream of kind azure-openai"),
        ('{kind: vertex, base_url: "https://x.example/v1"}', "/projects/PROJECT/locations/"),
        ("{kind: bedrock}", "base_url is required for an upstream of kind bedrock"),
        ("{kind: openai, base_url: x.example}", "base_url"),
        ("{kind: openai, api_version: '2024-10-21'}", "only azure-openai has one"),
        ("{kind: sim, protocols: [chatt]}", "did you mean 'chat'?"),
    ],
)
def test_a_block_that_cannot_be_right_is_refused(block: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG % block)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "c.yaml", Config)
    assert said in str(error.value) and "sk-secret-1" not in str(error.value)
