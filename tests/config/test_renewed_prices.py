"""``skillopt prices``: the price table is renewed from LiteLLM's list, which is read as data."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harnesses.base import Usage
from skillopt.cli import main
from skillopt.config.loading import ConfigError
from skillopt.config.prices import Price, default_table, load_prices, own_table
from skillopt.config.renewed_prices import PriceList, PriceListError, read_list, renewed, written

# The entries of litellm 1.110.2 for these models, but for what is not about text.
ENTRIES: dict[str, Any] = {
    "sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "gpt-5.5": {
        "input_cost_per_token": 5e-06, "input_cost_per_token_above_272k_tokens": 1e-05,
        "input_cost_per_token_above_272k_tokens_batches": 5e-06,
        "input_cost_per_token_priority": 1.25e-05, "cache_read_input_token_cost": 5e-07,
        "output_cost_per_token": 3e-05, "output_cost_per_token_above_272k_tokens": 4.5e-05,
    },
    "gpt-6-sol": {
        "input_cost_per_token": 2e-06, "cache_read_input_token_cost": 2e-07,
        "cache_creation_input_token_cost": 2.5e-06, "output_cost_per_token": 1e-05,
        "cache_creation_input_token_cost_above_12hr": 5e-06,
        "input_cost_per_token_above_272k_tokens": 4e-06,
        "output_cost_per_token_above_272k_tokens": 1.5e-05,
    },
    "claude-haiku-4-5": {
        "input_cost_per_token": 1e-06, "cache_read_input_token_cost": 1e-07,
        "cache_creation_input_token_cost": 1.25e-06, "output_cost_per_token": 5e-06,
        "cache_creation_input_token_cost_above_1hr": 2e-06,
    },
    "minimax/MiniMax-M3": {
        "input_cost_per_token": 3e-07, "cache_read_input_token_cost": 6e-08,
        "output_cost_per_token": 1.2e-06, "input_cost_per_token_above_512k_tokens": 6e-07,
        "output_cost_per_token_above_512k_tokens": 2.4e-06,
    },
    "dashscope/qwen-flash": {
        "tiered_pricing": [
            {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
            {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06,
             "range": [256000.0, 1000000.0]},
        ]
    },
    "three-steps": {
        "input_cost_per_token": 1e-06, "input_cost_per_token_above_200k_tokens": 3e-06,
        "input_cost_per_token_above_128k_tokens": 2e-06, "output_cost_per_token": 1e-06,
    },
    "free-of-charge": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "broken": {"input_cost_per_token": "1e-6", "output_cost_per_token": -1},
}  # fmt: skip
KNOWN = PriceList("litellm 1.110.2", ENTRIES)
TABLE = load_prices(default_table())


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "list.json").write_text(json.dumps(ENTRIES))
    return tmp_path / "list.json"


def run(*argv: str) -> Result:
    return CliRunner().invoke(main, ["prices", *argv])


def test_the_list_that_the_projects_table_was_made_from_changes_nothing() -> None:
    new = renewed(TABLE, KNOWN)
    assert new.changed == {} and new.table.models == TABLE.models
    same = {"gpt-5.5", "gpt-6-sol", "claude-haiku-4-5", "MiniMax-M3"}
    assert set(new.kept) == TABLE.models.keys() - same


def test_what_changed_is_told_and_the_rest_stays() -> None:
    dearer = {"gpt-5.5": ENTRIES["gpt-5.5"] | {"cache_read_input_token_cost": 1e-06}}
    new = renewed(TABLE, PriceList("x", dearer), today=datetime.date(2027, 1, 2))
    assert new.changed == {"gpt-5.5": "cached 0.5 -> 1"}
    assert new.table.date == datetime.date(2027, 1, 2)
    assert new.table.models["sim-*"] == TABLE.models["sim-*"]
    assert new.table.cost("gpt-5.5-2026-04-24", Usage(1, 1_000_000, 1_000_000, 0)) == 2.0


def test_tiers_and_steps_become_what_long_prompts_cost() -> None:
    new = renewed(TABLE, KNOWN, ["qwen-flash", "three-steps"])
    qwen, three = new.table.models["qwen-flash"], new.table.models["three-steps"]
    assert (qwen.prompt, qwen.completion) == (0.05, 0.4) and qwen.cached == qwen.prompt
    assert qwen.above and (qwen.above.tokens, qwen.above.prompt) == (256_000, 5.0)
    assert qwen.above.completion == 5.0
    assert three.above and (three.above.tokens, three.above.prompt) == (128_000, 2.0)
    assert new.notes == ("three-steps: of several steps, that at 128,000 tokens is taken",)
    assert new.changed["qwen-flash"].startswith("new: prompt 0.05")


def test_a_model_may_have_another_name_in_the_list() -> None:
    new = renewed(TABLE, KNOWN, ["google/flash=qwen-flash", "my-deployment=gpt-5.5"])
    assert new.table.models["google/flash"].prompt == 0.05
    assert new.table.models["my-deployment"] == TABLE.models["gpt-5.5"]
    with pytest.raises(PriceListError, match="has no price for 'gone'"):
        renewed(TABLE, KNOWN, ["gpt-5.5=gone2", "x=gone"])


@pytest.mark.parametrize("name", ["gone", "free-of-charge", "broken", "sample_spec"])
def test_no_price_is_not_a_price_of_nothing(name: str) -> None:
    with pytest.raises(PriceListError, match=f"has no price for '{name}'"):
        renewed(TABLE, KNOWN, [name])


PLAIN = {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}


@pytest.mark.parametrize(
    "broken",
    [
        {"tiered_pricing": [PLAIN, {**PLAIN, "range": limits}]}
        for limits in (None, [], [float("inf")], [0, 1], "x")
    ]
    + [
        {"input_cost_per_token_above_0k_tokens": 3e-06},
        {f"input_cost_per_token_above_{'9' * 5000}k_tokens": 3e-06},
        {"input_cost_per_token_above_200k_tokens": 1e-20},
        {"cache_read_input_token_cost": 10**400},
        {"cache_read_input_token_cost": float("nan")},
    ],
)
def test_a_broken_part_of_an_entry_is_left_out(broken: dict[str, Any], tmp_path: Path) -> None:
    new = renewed(TABLE, PriceList("list", {"m": PLAIN | broken}), ["m"])
    assert new.table.models["m"] == Price(prompt=1, cached=1, completion=1)
    (tmp_path / "t.yaml").write_text(written(new))
    assert load_prices(tmp_path / "t.yaml") == new.table


@pytest.mark.parametrize("cost", [1e305, 10**400, float("inf"), -1e-06, True])
def test_an_absurd_cost_is_no_price(cost: float) -> None:
    entry = PLAIN | {"input_cost_per_token": cost}
    with pytest.raises(PriceListError, match="has no price for 'm'"):
        renewed(TABLE, PriceList("list", {"m": entry}), ["m"])


@pytest.mark.parametrize("price", ["-1", ".inf", ".nan"])
def test_a_table_with_an_absurd_price_is_refused(price: str, tmp_path: Path) -> None:
    table = tmp_path / "t.yaml"
    models = f"{{m: {{prompt: {price}, cached: 1, completion: 1}}}}"
    table.write_text(f"date: 2026-01-01\nmodels: {models}\n")
    with pytest.raises(ConfigError, match=r"t\.yaml:2: models\.m\.prompt"):
        load_prices(table)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    new = renewed(TABLE, KNOWN, ["qwen-flash"])
    (tmp_path / "t.yaml").write_text(written(new))
    assert load_prices(tmp_path / "t.yaml") == new.table
    assert list(load_prices(tmp_path / "t.yaml").models) == list(new.table.models)


def test_the_renewed_table_is_used_from_then_on(file: Path) -> None:
    done = run("--from", str(file), "--add", "qwen-flash")
    assert done.exit_code == 0, done.output
    assert "qwen-flash: new: prompt 0.05" in done.output and "1 changed, 4 the same" in done.output
    assert own_table() == default_table() and "qwen-flash" in load_prices(default_table()).models
    assert str(own_table()) in run().output
    again = json.loads(run("--from", str(file), "--json").output)
    assert again["changed"] == {} and again["table"] == str(own_table())
    old = load_prices(own_table()).model_copy(update={"date": datetime.date(2020, 1, 1)})
    own_table().write_text(
        own_table().read_text().replace(str(datetime.date.today()), "2020-01-01")
    )
    assert load_prices(own_table()) == old
    assert default_table() != own_table(), "the project's is newer"


def test_a_dry_run_and_a_file_of_ones_own_leave_the_rest_alone(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    row = "  gpt-5.5: {prompt: 1.0, cached: 1.0, completion: 1.0}\n"
    mine.write_text(f"date: 2026-01-01\nmodels:\n{row}")
    done = run("--from", str(file), "--table", str(mine), "--dry-run")
    assert "prompt 1 -> 5" in done.output and "over 272,000 tokens" in done.output
    assert not own_table().exists() and mine.read_text().endswith(row)
    done = run("--from", str(file), "--table", str(mine), "--to", str(mine))
    assert done.exit_code == 0 and load_prices(mine).models["gpt-5.5"].prompt == 5.0
    assert not own_table().exists()


def test_the_installed_package_is_read_and_not_imported(tmp_path: Path) -> None:
    package, info = tmp_path / "site/litellm", tmp_path / "site/litellm-9.8.7.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 9.8.7\n")
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    name = "model_prices_and_context_window_backup.json"
    (package / name).write_text(json.dumps(ENTRIES))
    code = f"""
import sys; sys.path.insert(0, {str(package.parent)!r})
from skillopt.config.renewed_prices import read_list
print(read_list("litellm").source, "litellm" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "litellm 9.8.7 False\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "has no prices in the form"),
        ('{"a": 1}', "has no prices in the form"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_list_is_refused_by_name(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(PriceListError, match=words):
        read_list(str(tmp_path / "x.json"))
    assert run("--from", str(tmp_path / "x.json")).exit_code == 2
    with pytest.raises(PriceListError, match="No such file"):
        read_list(str(tmp_path / "gone.json"))


def test_options_without_a_source_are_refused() -> None:
    assert run("--add", "gpt-5.5").exit_code == 2
