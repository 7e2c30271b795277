"""Makes a config's upstream one that the gateway can call.

A new kind of service is a section in :mod:`skillopt.config.upstreams` and a line here. A user's
own is named by import path: ``kind: my_package.module:MyUpstream``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harnesses.accounts.chatgpt import ChatGptAccount
from harnesses.accounts.vault import AccountError
from harnesses.base import ModelSpec
from harnesses.gateway.addresses import KINDS, protocols_of
from harnesses.gateway.gateway import Gateway, Price
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN, ChatGptPlan, ClaudePlan, token_in
from harnesses.gateway.service import OnPlan, OnWait
from harnesses.gateway.upstreams import HttpUpstream, Upstream
from sandboxes.owner import scratch_dir
from skillopt.config.logins import login, models
from skillopt.config.schema import Config, ModelConfig
from skillopt.config.upstreams import (
    HttpConfig,
    LlamaConfig,
    OwnUpstreamConfig,
    SimConfig,
    UpstreamConfig,
)
from skillopt.core.import_path import check, is_ours, make, own_code
from skillopt.rollouts.identity import without_later

NOT_DECISIVE = frozenset({"key_env", "max_concurrency", "latency_s", "error_rate", "cut_rate"})
"""Settings of an upstream that do not decide its replies."""


@contextmanager
def open_upstream(config: UpstreamConfig) -> Iterator[Upstream]:
    """The upstream that a config describes, with its server if it needs one.

    Raises:
        PluginError: the import path of a user's own upstream leads nowhere.
    """
    if isinstance(config, SimConfig):
        from skillopt.sim.model import ALL, SimUpstream

        dials = config.model_dump(exclude={"kind", "protocols"})
        yield SimUpstream(**dials, protocols=frozenset(config.protocols) or ALL)
    elif isinstance(config, LlamaConfig):
        from harnesses.gateway.llamacpp import LlamaUpstream

        settings = config.model_dump(exclude={"kind", "protocols"})
        with LlamaUpstream(**settings, protocols=frozenset(config.protocols)) as upstream:
            yield upstream
    elif isinstance(config, OwnUpstreamConfig):
        yield from _own(config)
    elif config.login == "chatgpt":
        yield ChatGptPlan(tokens=ChatGptAccount(), **_settings(config))
    elif config.login == "claude-plan":
        name = config.key_env or CLAUDE_TOKEN
        yield ClaudePlan(**_settings(config) | {"key_env": name})
    else:
        yield HttpUpstream(**_settings(config))


@contextmanager
def open_gateway(
    config: Config,
    given: Mapping[str, Upstream],
    price: Price,
    on_wait: OnWait,
    on_plan: OnPlan,
) -> Iterator[Gateway]:
    """The gateway of one process, with the upstreams of a config.

    Args:
        config: has the upstreams.
        given: objects that replace some of them.
        price: computes the cost of a usage.
        on_wait, on_plan: as :class:`Gateway` takes them.

    Raises:
        PluginError: the import path of a user's own upstream leads nowhere.
        GatewayError: it does not start.
    """
    patience = config.patience
    with ExitStack() as stack:
        upstreams = {
            name: stack.enter_context(open_upstream(block))
            for name, block in config.upstreams.items()
            if name not in given
        } | dict(given)
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=scratch_dir())))
        waits = Patience(patience.total, first_byte_s=patience.first_byte)
        socket = scratch / "gateway.sock"
        yield stack.enter_context(
            Gateway(upstreams, socket, price, waits, on_wait, on_plan=on_plan)
        )


def _settings(config: HttpConfig) -> dict[str, Any]:
    """The arguments of an upstream over HTTP."""
    spoken = frozenset({"responses"}) if config.login == "chatgpt" else None
    return {
        "kind": config.kind,
        "base_url": config.base_url or KINDS[config.kind].base_url,
        "key_env": config.key_env,
        "protocols": spoken or protocols_of(config.kind, config.protocols),
        "max_concurrency": config.max_concurrency,
        "api_version": config.api_version,
    }


def raise_own_error(gateway: Gateway, name: str) -> None:
    """Raise OwnCodeError if a user's own upstream has raised what is none of its errors."""
    error, upstream = gateway.raised(name), gateway.upstreams[name]
    if error is not None and not is_ours(upstream):
        with own_code(f"upstreams.{name}", upstream):
            raise error from error.__cause__  # Without what is being handled here.


def check_upstream(name: str, config: UpstreamConfig) -> None:
    """Raise PluginError if a user's own upstream cannot be used."""
    if isinstance(config, OwnUpstreamConfig):
        check(config.kind, f"upstreams.{name}", "send")


def check_signed_in(config: Config) -> None:
    """Raise AccountError or PlanError if a plan is to pay for a model, and nobody is signed in."""
    for _, model in models(config):
        upstream = config.upstreams[model.upstream]
        kind = login(config, model.upstream)
        if kind == "claude-plan" and isinstance(upstream, HttpConfig):
            token_in(upstream.key_env or CLAUDE_TOKEN)
        if kind == "chatgpt":
            state = ChatGptAccount().state()
            if state is None or state.problem:
                why = "nobody is signed in" if state is None else state.problem
                raise AccountError(f"ChatGPT: {why}: run 'skillopt login chatgpt'")


def _own(config: OwnUpstreamConfig) -> Iterator[Upstream]:
    made: Any = make(config.kind, "upstreams", "send", **config.options)
    if isinstance(made, AbstractContextManager):
        with made as upstream:
            yield upstream
    else:
        yield made


def model_spec(config: ModelConfig) -> ModelSpec:
    """A config's model as the gateway knows it."""
    return ModelSpec(config.upstream, config.name, config.sampling)


def service_of(config: Config, model: ModelConfig, parts: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a model's upstream that decide its replies, such as its address.

    Args:
        config: has the upstream's section.
        model: target or optimizer.
        parts: from :func:`skillopt.rollouts.plugins.identities`, for a user's own upstream.
    """
    upstream = config.upstreams[model.upstream]
    found = upstream.model_dump(mode="json", exclude=set(NOT_DECISIVE))
    own = parts.get(f"upstreams.{model.upstream}")
    known = without_later("sim" if found["kind"] == "sim" else "upstream", found)
    return known | ({"own": own} if own else {})
