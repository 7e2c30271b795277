"""``skillopt doctor``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from itertools import chain

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import output, show_text


@click.command("doctor")
@click.option("--engine-only", is_flag=True, help="Only check whether a Docker engine answers.")
@click.option(
    "--model",
    metavar="UPSTREAM:NAME",
    help="Only send this model one request; print its latency, tokens, price and protocol.",
)
@click.option(
    "--config",
    help="Also check its tasks.environment and the nodes of its cluster; or, for --model, its "
    "upstreams and prices.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(engine_only: bool, model: str | None, config: str | None, as_json: bool) -> None:
    """Check what works on this machine, and print how to fix the rest."""
    if model is not None:
        _try_model(model, config, as_json)
        return
    from skillopt.cli.doctor import (
        accounts,
        engine_answers,
        environment,
        examine,
        installation,
        nodes,
        release_checks,
    )
    from skillopt.core.files import to_json

    checks = []
    of_config = [] if config is None else [environment(config)]
    of_cluster = () if config is None else nodes(config)
    everything = chain(
        [installation()], of_config, accounts(), examine(), release_checks(), of_cluster
    )
    for check in [engine_answers()] if engine_only else everything:
        checks.append(check)
        if not as_json:
            mark = "ok  " if check.ok else "BAD "
            advice = "" if check.ok or not check.advice else f"\n     -> {check.advice}"
            line = f"{mark} {check.name}: {check.detail}{advice}"
            show_text(output(), line)
    if as_json:
        click.echo(to_json([asdict(check) for check in checks]), nl=False)
    if not all(check.ok for check in checks):
        sys.exit(EXIT_FAILED)


def _try_model(model: str, config: str | None, as_json: bool) -> None:
    """Print the result of one request to a model."""
    from skillopt.cli.model_check import check_model
    from skillopt.config.prices import cost_text
    from skillopt.core.files import to_json

    check = check_model(model, config)
    if as_json:
        click.echo(to_json(asdict(check)), nl=False)
    elif check.error:
        show_text(output(), f"BAD {model}: {check.error}")
    else:
        usage, cost = check.usage, check.usage.cost_usd
        for name, value in (
            ("model", f"{check.model} of upstream {check.upstream}"),
            ("protocol", check.protocol),
            ("latency", f"{check.seconds:.2f} s"),
            ("tokens", f"{usage.prompt_tokens} in ({usage.cached_tokens} cached), "
                       f"{usage.completion_tokens} out"),
            ("price", "unknown: add the model to a price table (key 'prices')"
                      if cost is None else cost_text(usage) if usage.included else
                      f"{cost:.6f} USD"),
            ("JSON schema", "kept" if check.schema_kept else
             f"not kept: {', '.join(check.ignored) or 'the reply does not fit it'}; as optimizer "
             "it will have to be asked again"),
        ):  # fmt: skip
            show_text(output(), f"ok  {name}: {value}")
        for window in check.plan:
            show_text(output(), f"ok  plan: {window.text(time.time())}")
    if check.error:
        sys.exit(EXIT_FAILED)
