"""What a model call costs: the table that comes with the project, cache writes and long prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harnesses.base import Usage
from harnesses.protocols import chat_stream, messages_stream, responses_items
from skillopt.config.prices import LongPrompt, Price, load_prices
from skillopt.core.resources import resource
from tests.helpers.command_line import skillopt, small_options

TABLE = load_prices(resource("configs") / "prices.yaml")
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("claude-sonnet-5", Usage(10, MILLION, 0, 0), 2.0),
        ("claude-sonnet-5", Usage(10, MILLION, MILLION, 0), 0.2),
        ("claude-sonnet-5", Usage(10, 0, 0, MILLION), 10.0),
        ("claude-sonnet-5", Usage(10, MILLION, 0, 0, cache_write_tokens=MILLION), 2.5),
        ("claude-sonnet-5", Usage(10, MILLION, 0, 0, cache_write_long_tokens=MILLION), 4.0),
        ("claude-sonnet-5-20260714", Usage(10, MILLION, 0, 0), 2.0),
        ("gpt-5.5-2026-04-24", Usage(10, MILLION, 0, 0), 5.0),
        ("claude-sonnet-5-5", Usage(10, MILLION, MILLION, 0), 0.1),
        ("gpt-5.5", Usage(1, 272_000, 0, 0), 5 * 0.272),
        ("gpt-5.5", Usage(1, 272_001, 0, 0), 2 * 5 * 0.272001),
        ("gpt-5.5", Usage(1, 300_000, 0, 100_000), 2 * 5 * 0.3 + 1.5 * 30 * 0.1),
        ("gpt-5.5", Usage(2, 300_000, 0, 0), 5 * 0.3),
        ("gpt-5.4-mini", Usage(1, 300_000, 0, 0), 0.75 * 0.3),
        ("claude-haiku-5-5", Usage(1, 100_001, 0, 0), 5 * 0.1 * 0.100001),
        ("sim-1", Usage(1, MILLION, 0, MILLION), 0.0),
    ],
    ids=str,
)
def test_the_usual_models_have_their_price(model: str, usage: Usage, usd: float) -> None:
    assert TABLE.cost(model, usage) == pytest.approx(usd)


@pytest.mark.parametrize(
    "model", ["gpt-5.5-mini", "gpt-5.5x", "GPT-5.5", "qwen3-8b", "claude-sonnet-5-latest", ""]
)
def test_an_unknown_price_stays_unknown(model: str) -> None:
    assert TABLE.cost(model, Usage(1, 10, 0, 10)) is None


def test_cache_writes_without_a_price_of_their_own_cost_what_comes_nearest() -> None:
    written = Usage(1, MILLION, 0, 0, cache_write_tokens=MILLION)
    long = Usage(1, MILLION, 0, 0, cache_write_long_tokens=MILLION)
    plain = Price(prompt=3.0, cached=1.0, completion=0.0)
    assert (plain.cost(written), plain.cost(long)) == (3.0, 3.0)
    some = Price(prompt=3.0, cached=1.0, cache_write=4.0, completion=0.0)
    assert (some.cost(written), some.cost(long)) == (4.0, 4.0)
    above = LongPrompt(tokens=0, prompt=2.0, completion=1.0)
    assert some.model_copy(update={"above": above}).cost(written) == 8.0


def test_services_report_what_was_written_to_their_cache() -> None:
    messages = {
        "input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 7,
    }  # fmt: skip
    found = messages_stream.usage_of(messages)
    assert found == Usage(1, 325, 20, 7, 0.0, 100, 200)
    back = messages_stream.written_usage(found)
    assert messages_stream.usage_of(back).prompt_tokens == 325
    assert back["input_tokens"] == 5 and back["cache_creation_input_tokens"] == 300
    del messages["cache_creation"]  # type: ignore[misc]
    assert messages_stream.usage_of(messages) == Usage(1, 325, 20, 7, 0.0, 300, 0)
    chat = {"prompt_tokens": 9, "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 4}}  # fmt: skip
    assert chat_stream.usage_of(chat) == Usage(1, 9, 1, 2, 0.0, 4)
    body = {
        "usage": {
            "input_tokens": 9,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 4},
        }
    }
    assert responses_items.usage_of(body) == Usage(1, 9, 1, 2, 0.0, 4)


def test_usages_add_up() -> None:
    one = Usage(1, 10, 2, 3, 0.5, 4, 5)
    assert one + one == Usage(2, 20, 4, 6, 1.0, 8, 10)
    assert Usage.total([one, Usage(1, cost_usd=None)]).cost_usd is None
    assert Usage.total([]) == Usage()


@pytest.mark.slow
def test_a_dry_run_and_a_limit_on_money_work_for_the_models_of_the_readme() -> None:
    options = [
        "--set", "target={upstream: anthropic, name: claude-sonnet-5}",
        "--set", "optimizer={upstream: openai, name: gpt-5.5}",
        "--set", "upstreams.anthropic={kind: anthropic, key_env: A}",
        "--set", "upstreams.openai={kind: openai, key_env: B}",
        "--set", "limits.usd=5",
    ]  # fmt: skip
    done = skillopt("train", "quickstart/local", "--dry-run", "--json", *options)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["usd"] > 1 and all(stage["usd"] is not None for stage in plan["stages"])
    unknown = [*options, "--set", "optimizer.name=gpt-5.5-mini"]
    refused = skillopt("train", "quickstart/local", "--dry-run", *unknown)
    assert refused.returncode == 2 and "no price for 'gpt-5.5-mini'" in refused.stderr


def test_a_dry_run_takes_the_price_of_long_prompts_for_those_alone(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "date: 2026-01-01\nmodels:\n"
        "  sim-*: {prompt: 1.0, cached: 1.0, completion: 0.0, "
        "above: {tokens: 100_000, prompt: 100.0, completion: 1.0}}\n"
    )
    options = ["--set", f"prices={prices}", *small_options(tmp_path)]
    done = skillopt("train", "quickstart/codex", "--dry-run", "--json", *options)
    assert done.returncode == 0, done.stderr
    for stage in json.loads(done.stdout)["stages"]:
        assert stage["usd"] <= stage["tokens"] / 1e6
