"""One real request to a model, to see whether its upstream is set up: ``doctor --model``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pydantic import ValidationError

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_windows import PlanWindow
from harnesses.gateway.session import Grant, Session
from harnesses.protocols.base import Conversation, Message
from sandboxes.owner import scratch_dir
from skillopt.config.loading import ConfigError, load_config
from skillopt.config.prices import Prices, default_table, load_prices, price_table
from skillopt.config.schema import Config
from skillopt.config.upstreams import UpstreamConfig, UpstreamsConfig
from skillopt.core.resources import resource
from skillopt.optimizer.replies import Ranking
from skillopt.rollouts.upstreams import model_spec, open_upstream, raise_own_error

PATIENCE = Patience(total_s=120.0, outage_s=5.0)
"""For one question, whose answer somebody waits for."""
QUESTION = (
    "Put the numbers 3, 1 and 2 in order. Answer with a JSON object that has the fields "
    "'reasoning', a short text, and 'order', the list of numbers."
)


@dataclass(frozen=True)
class ModelCheck:
    """The result of the request. ``error`` says what went wrong and what to do."""

    upstream: str
    model: str
    error: str = ""
    reply: str = ""
    protocol: str = ""
    """The protocol of the request to the service."""
    seconds: float = 0.0
    usage: Usage = Usage()
    schema_kept: bool = False
    """Whether the reply fits the JSON schema that was asked for."""
    ignored: tuple[str, ...] = ()
    """Features of the request that the service silently ignored."""
    plan: tuple[PlanWindow, ...] = ()
    """What the service told of the plan that pays."""


def check_model(name: str, config: str | None = None) -> ModelCheck:
    """Send a model one request through the gateway.

    Args:
        name: ``UPSTREAM:NAME``, or with a config ``NAME`` alone, for its target's upstream.
        config: the config with the upstreams and prices, or a file that has upstreams alone; by
            default the project's ``configs/upstreams.yaml``.

    Raises:
        ConfigError: there is no such upstream, or the config cannot be used.
    """
    upstreams, prices, spec = named_model(name, config)
    with (
        open_upstream(upstreams[spec.upstream]) as upstream,
        TemporaryDirectory(dir=scratch_dir()) as scratch,
        Gateway(
            {spec.upstream: upstream}, Path(scratch) / "gateway.sock", prices.cost, PATIENCE
        ) as gateway,
        gateway.open(Grant(spec, seed=0)) as session,
    ):
        found = _ask(session, spec)
        raise_own_error(gateway, spec.upstream)
        return replace(found, plan=gateway.windows(spec.upstream))


def named_model(
    name: str, config: str | None
) -> tuple[Mapping[str, UpstreamConfig], Prices, ModelSpec]:
    """The services, the prices and the model that a name means; arguments and errors as for
    :func:`check_model`."""
    file = resource("configs") / "upstreams.yaml" if config is None else Path(config)
    if config is None or _has_upstreams_alone(file):
        upstreams = load_config(file, UpstreamsConfig).upstreams
        prices = load_prices(default_table())
        upstream, colon, model = name.partition(":")
        if not colon or upstream not in upstreams:
            raise ConfigError(
                f"model {name!r}: use UPSTREAM:NAME, with one of {', '.join(sorted(upstreams))}, "
                "or give a config of your own with --config"
            )
        return upstreams, prices, ModelSpec(upstream, model)
    from skillopt.config.inputs import read_config
    from skillopt.evaluation.evaluate import with_target

    read: Config = read_config(config)
    spec = model_spec(with_target(read, name).target)
    return read.upstreams, price_table(read), spec


def _has_upstreams_alone(file: Path) -> bool:
    """Whether a file is no whole config, but has some services; what cannot be read is neither."""
    try:
        return list(yaml.safe_load(file.read_text("utf-8"))) == ["upstreams"]
    except (OSError, UnicodeDecodeError, TypeError, yaml.YAMLError):
        return False


def _ask(session: Session, spec: ModelSpec) -> ModelCheck:
    shown = Conversation(spec.name, (Message("user", QUESTION),), schema_name="Ranking")
    started = time.monotonic()
    try:
        with ChatClient(session) as client:
            reply = client.say(shown, Ranking.model_json_schema())
    except ChatError as error:
        return ModelCheck(spec.upstream, spec.name, error=str(error))
    seconds = time.monotonic() - started
    exchange: Exchange = session.exchanges[-1]
    return ModelCheck(
        upstream=spec.upstream,
        model=reply.model or spec.name,
        reply=reply.text,
        protocol=exchange.spoken or exchange.protocol,
        seconds=seconds,
        usage=session.usage,
        schema_kept=_kept(reply.text),
        ignored=exchange.ignored,
    )


def _kept(text: str) -> bool:
    try:
        Ranking.model_validate_json(text)
    except ValidationError:
        return False
    return True
