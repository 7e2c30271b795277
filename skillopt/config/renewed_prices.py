"""Renews a price table from LiteLLM's list of prices: that of an installed package, or a file.

The list is read as data. The package is not imported, which would take seconds and ask the network.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from skillopt.config.prices import LongPrompt, Price, Prices
from skillopt.core.errors import SkillOptError

LIST = "litellm/model_prices_and_context_window_backup.json"
"""The list in LiteLLM's package (MIT licence, BerriAI)."""
VENDORS = (
    "openai", "anthropic", "minimax", "dashscope", "gemini", "xai", "deepseek", "mistral",
    "openrouter", "vertex_ai", "bedrock", "azure", "azure_ai",
)  # fmt: skip
"""Whose price counts for a model that is in the list with a vendor before its name, in order."""
MOST_BYTES = 64 * 1024 * 1024
_MOST_TOKENS = 10**10
_MOST_USD = 1e6
"""More for a million tokens is no price."""

_ABOVE = re.compile(r"input_cost_per_token_above_([1-9]\d{0,6})k_tokens")


class PriceListError(SkillOptError):
    """A list of prices cannot be read. The message says which, and what to do."""


@dataclass(frozen=True)
class PriceList:
    """LiteLLM's prices.

    Args:
        source: where it is from, for people.
        models: its entries by name.
    """

    source: str
    models: Mapping[str, Any]


@dataclass(frozen=True)
class Renewed:
    """A table with the prices of a list.

    Args:
        table: the whole of it.
        source: the list.
        changed: what is new or different, by model.
        kept: models that are not in the list, or without a price there.
        notes: what could not be taken over as it is.
    """

    table: Prices
    source: str
    changed: Mapping[str, str]
    kept: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def read_list(place: str) -> PriceList:
    """A list of prices.

    Args:
        place: ``litellm`` for the installed package; or a file of that form, such as its
            ``model_prices_and_context_window.json``.

    Raises:
        PriceListError: it is not there, or is something else.
    """
    if place == "litellm":
        try:
            package = metadata.distribution("litellm")
        except metadata.PackageNotFoundError as error:
            raise PriceListError(
                "litellm is not installed here: pip install litellm, or name a file with its list: "
                f"--from …/{LIST}"
            ) from error
        file, source = Path(str(package.locate_file(LIST))), f"litellm {package.version}"
    else:
        file = Path(place)
        source = str(file)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise PriceListError(
                f"{file}: is larger than {MOST_BYTES >> 20} MiB; name another file"
            )
        models = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise PriceListError(
            f"{file}: {error.strerror}; name a file with LiteLLM's list"
        ) from error
    except (ValueError, RecursionError) as error:
        raise PriceListError(f"{file}: is not JSON: {error}; name LiteLLM's list") from error
    if not isinstance(models, dict) or not any(_cost(m, "input") for m in models.values()):
        raise PriceListError(f"{file}: has no prices in the form of LiteLLM's list")
    return PriceList(source, models)


def renewed(
    table: Prices, known: PriceList, add: Iterable[str] = (), today: datetime.date | None = None
) -> Renewed:
    """A table with the prices of a list.

    Args:
        table: of which each model that the list has is renewed; all others stay.
        known: the list.
        add: further models, by the names that requests use; as ``NAME=ENTRY`` those that the list
            has by another name.
        today: the date of the new table.

    Raises:
        PriceListError: the list has no price for a model of ``add``.
    """
    models = dict(table.models)
    changed: dict[str, str] = {}
    kept, notes = [], []
    added = dict(_named(text) for text in add)
    for name in dict.fromkeys([*models, *added]):
        found = _entry(known.models, added.get(name, name))
        price, note = _price(found) if found is not None else (None, "")
        if price is None:
            if name not in models:
                raise PriceListError(f"{known.source}: has no price for {added[name]!r}")
            kept.append(name)
            continue
        if note:
            notes.append(f"{name}: {note}")
        if models.get(name) != price:
            changed[name] = _difference(models.get(name), price)
        models[name] = price
    date = today or datetime.date.today()
    return Renewed(
        Prices(date=date, models=models), known.source, changed, tuple(kept), tuple(notes)
    )


def written(new: Renewed) -> str:
    """A table as YAML."""
    lines = [
        "# USD for a million tokens, by pattern of model name; the first match counts.",
        f"# Written by 'skillopt prices' from {json.dumps(new.source)[1:-1]}.",
        f"date: {new.table.date}",
        "models:",
    ]
    for name, price in new.table.models.items():
        values = price.model_dump(exclude_none=True)
        lines.append(f"  {json.dumps(name)}: {json.dumps(values)}")
    return "\n".join(lines) + "\n"


def _named(text: str) -> tuple[str, str]:
    """A model's name in requests and in the list."""
    name, _, entry = text.partition("=")
    return name, entry or name


def _entry(models: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A model's entry in a list, by its name or that of a vendor before it."""
    for candidate in (name, *(f"{vendor}/{name}" for vendor in VENDORS)):
        found = models.get(candidate)
        if isinstance(found, dict):
            return found
    return None


def _price(entry: Mapping[str, Any]) -> tuple[Price | None, str]:
    """The price in an entry, None if there is none; and what of it does not fit a table."""
    base: Mapping[str, Any]
    tiers = entry.get("tiered_pricing")
    if isinstance(tiers, list) and len(tiers) > 1 and all(isinstance(t, dict) for t in tiers):
        base, above, note = _tiers(tiers)
    else:
        base, above, note = entry, _above(entry), ""
        if len(steps := _steps(entry)) > 1:
            note = f"of several steps, that at {steps[0]:,} tokens is taken"
    prompt, completion = _cost(base, "input"), _cost(base, "output")
    if not prompt or not completion:  # A price of nothing is one that nobody knows.
        return None, ""
    cached = _number(base, "cache_read_input_token_cost", "input_cost_per_token_cache_hit")
    long = _number(
        base, "cache_creation_input_token_cost_above_1hr",
        "cache_creation_input_token_cost_above_12hr",
    )  # fmt: skip
    price = Price(
        prompt=prompt,
        cached=prompt if cached is None else cached,
        cache_write=_number(base, "cache_creation_input_token_cost"),
        cache_write_long=long,
        completion=completion,
        above=above,
    )
    return price, note


def _steps(entry: Mapping[str, Any]) -> list[int]:
    """The lengths of prompts, in tokens, above which an entry has other prices."""
    return sorted(int(found[1]) * 1000 for key in entry if (found := _ABOVE.fullmatch(key)))


def _above(entry: Mapping[str, Any]) -> LongPrompt | None:
    steps = _steps(entry)
    if not steps:
        return None
    end = f"_above_{steps[0] // 1000}k_tokens"
    return _factors(
        steps[0],
        (_cost(entry, "input"), _number(entry, f"input_cost_per_token{end}")),
        (_cost(entry, "output"), _number(entry, f"output_cost_per_token{end}")),
    )


def _tiers(tiers: list[dict[str, Any]]) -> tuple[dict[str, Any], LongPrompt | None, str]:
    """The prices of the first tier, and those of the second as what long prompts cost."""
    first, second = tiers[:2]
    limits = second.get("range")
    start = limits[0] if isinstance(limits, list) and limits else None
    note = f"of {len(tiers)} tiers, the first two are taken" if len(tiers) > 2 else ""
    if not isinstance(start, int | float) or not 1 <= start < _MOST_TOKENS:
        return first, None, "its tiers have no ranges"
    pairs = [(_cost(first, side), _cost(second, side)) for side in ("input", "output")]
    return first, _factors(int(start), *pairs), note


def _factors(
    tokens: int,
    prompt: tuple[float | None, float | None],
    completion: tuple[float | None, float | None],
) -> LongPrompt | None:
    """What prices are multiplied by above a length, from those below and above it."""
    found = []
    for below, above in (prompt, completion):
        factor = round(above / below, 6) if below and above else 1.0
        found.append(factor if 0 < factor < math.inf else 1.0)
    if found == [1.0, 1.0]:
        return None
    return LongPrompt(tokens=tokens, prompt=found[0], completion=found[1])


def _cost(entry: Any, side: str) -> float | None:
    return _number(entry, f"{side}_cost_per_token") if isinstance(entry, dict) else None


def _number(entry: Mapping[str, Any], *keys: str) -> float | None:
    """The first of some costs for one token that an entry has, for a million tokens."""
    for key in keys:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= _MOST_USD / 1_000_000:  # Not for NaN either.
            return float(Decimal(str(value)) * 1_000_000)
    return None


def _difference(old: Price | None, new: Price) -> str:
    """What of a price has changed, for people."""
    before = old.model_dump() if old else {}
    parts = []
    for key, value in new.model_dump().items():
        if value != before.get(key):
            was = f"{_shown(before[key])} -> " if old else ""
            parts.append(f"{key} {was}{_shown(value)}")
    return ", ".join(parts) if old else f"new: {', '.join(p for p in parts if ' none' not in p)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"x{value['prompt']:g}/x{value['completion']:g} over {value['tokens']:,} tokens"
    return "none" if value is None else f"{value:g}"
