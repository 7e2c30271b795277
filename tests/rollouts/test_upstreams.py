"""A config's model services as the gateway calls them, and what of them decides replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN, ChatGptPlan, ClaudePlan
from harnesses.gateway.upstreams import HttpUpstream
from skillopt.config.schema import ModelConfig
from skillopt.config.upstreams import HttpConfig, OwnUpstreamConfig, SimConfig
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.rollouts import upstreams as module
from skillopt.rollouts.upstreams import (
    check_upstream,
    model_spec,
    open_gateway,
    open_upstream,
    raise_own_error,
    service_of,
)
from skillopt.sim.model import ALL, SimUpstream

URL = "http://127.0.0.1:9"


def http(**values: Any) -> HttpConfig:
    return HttpConfig.model_validate({"kind": "openai-compatible", "base_url": URL, **values})


class Mine:
    """A service of the user's own."""

    def __init__(self, **options: Any) -> None:
        self.options, self.closed = options, False

    async def send(self, call: Any) -> Any: ...

    protocols = frozenset({"chat"})
    max_concurrency = 1


def test_a_service_over_http_is_asked_as_its_section_says() -> None:
    section = http(key_env="KEY_A", max_concurrency=3, protocols=["chat"])
    with open_upstream(section) as found:
        assert type(found) is HttpUpstream
        assert (found.base_url, found.key_env, found.max_concurrency) == (URL, "KEY_A", 3)
        assert found.protocols == {"chat"}
    with open_upstream(HttpConfig(kind="anthropic")) as known:
        assert isinstance(known, HttpUpstream) and "anthropic.com" in known.base_url
    with open_upstream(HttpConfig(kind="anthropic", base_url=URL)) as elsewhere:
        assert isinstance(elsewhere, HttpUpstream) and elsewhere.base_url == URL


@pytest.mark.parametrize(("key_env", "used"), [("MY_TOKEN", "MY_TOKEN"), ("", CLAUDE_TOKEN)])
def test_a_plan_is_paid_with_its_token(key_env: str, used: str) -> None:
    section = HttpConfig.model_validate(
        {"kind": "anthropic", "login": "claude-plan", "key_env": key_env}
    )
    with open_upstream(section) as found:
        assert isinstance(found, ClaudePlan) and found.key_env == used


def test_the_plan_of_chatgpt_speaks_one_protocol() -> None:
    section = HttpConfig.model_validate({"kind": "openai", "login": "chatgpt"})
    with open_upstream(section) as found:
        assert isinstance(found, ChatGptPlan) and found.protocols == {"responses"}


def test_the_simulated_model_has_its_dials() -> None:
    with open_upstream(SimConfig(kind="sim", noise=0.25, seed=3)) as found:
        assert isinstance(found, SimUpstream)
        assert (found.noise, found.seed, found.protocols) == (0.25, 3, ALL)
    with open_upstream(SimConfig.model_validate({"kind": "sim", "protocols": ["chat"]})) as one:
        assert one.protocols == {"chat"}


def test_a_service_of_the_users_own_is_checked_by_what_it_can() -> None:
    here = f"{__name__}:Mine"
    check_upstream("mine", OwnUpstreamConfig(kind=here))
    check_upstream("sim", SimConfig(kind="sim"))
    with pytest.raises(PluginError, match=r"upstreams\.mine"):
        check_upstream("mine", OwnUpstreamConfig(kind=f"{__name__}:Missing"))


@pytest.mark.parametrize(
    ("section", "decisive"),
    [
        (http(), {"kind": "openai-compatible", "base_url": URL}),
        (http(key_env="K", max_concurrency=2), {"kind": "openai-compatible", "base_url": URL}),
        (http(kind="azure-openai", api_version="v"), {"api_version": "v"}),
        (http(base_url="http://x"), {"base_url": "http://x"}),
        (SimConfig(kind="sim", latency_s=1.0, error_rate=0.5, cut_rate=0.5), {"kind": "sim"}),
        (SimConfig.model_validate({"kind": "sim", "protocols": ["chat"]}), {"protocols": ["chat"]}),
    ],
)
def test_what_decides_a_services_replies(section: Any, decisive: dict[str, Any]) -> None:
    config: Any = SimpleNamespace(upstreams={"up": section})
    found = service_of(config, ModelConfig(upstream="up", name="m"), {})
    assert decisive.items() <= found.items()
    assert not {"key_env", "max_concurrency", "latency_s", "error_rate", "cut_rate"} & set(found)
    assert not [key for key in ("protocols", "api_version", "login", "own") if key not in decisive
                and key in found and found["kind"] == "sim"]  # fmt: skip
    own = service_of(
        config, ModelConfig(upstream="up", name="m"), {"upstreams.up": "x", "upstreams.b": "y"}
    )
    assert own == found | {"own": "x"}


def test_a_model_is_known_by_its_service_name_and_sampling() -> None:
    section = ModelConfig(upstream="up", name="m", sampling={"temperature": 0.5})
    assert model_spec(section) == ModelSpec("up", "m", {"temperature": 0.5})


@pytest.mark.parametrize(
    ("upstream", "error", "raised"),
    [
        (Mine(), ValueError("my mistake"), OwnCodeError),
        (Mine(), None, None),
        (SimUpstream(), ValueError("our mistake"), None),
    ],
)
def test_only_a_mistake_in_the_users_own_service_is_theirs(
    upstream: Any, error: Exception | None, raised: type[Exception] | None
) -> None:
    gateway = SimpleNamespace(raised=lambda name: error, upstreams={"mine": upstream})
    if raised is None:
        raise_own_error(cast(Gateway, gateway), "mine")
    else:
        with pytest.raises(raised, match=r"upstreams\.mine.*my mistake"):
            raise_own_error(cast(Gateway, gateway), "mine")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "ChatGPT: nobody is signed in: run 'skillopt login chatgpt'"),
        (SimpleNamespace(problem="it was refused"), "ChatGPT: it was refused: run"),
        (SimpleNamespace(problem=""), ""),
    ],
)
def test_somebody_is_signed_in_whose_plan_pays(
    state: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "models", lambda config: [("target", SimpleNamespace(upstream="up"))]
    )
    monkeypatch.setattr(module, "login", lambda config, name: "chatgpt")
    monkeypatch.setattr(module, "ChatGptAccount", lambda: SimpleNamespace(state=lambda: state))
    config: Any = SimpleNamespace(upstreams={"up": http()})
    if message:
        with pytest.raises(module.AccountError, match=message):  # type: ignore[attr-defined]
            module.check_signed_in(config)
    else:
        module.check_signed_in(config)


@pytest.mark.parametrize(("key_env", "asked"), [("MY_TOKEN", "MY_TOKEN"), ("", CLAUDE_TOKEN)])
def test_a_claude_plan_needs_its_token(
    key_env: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(
        module, "models", lambda config: [("target", SimpleNamespace(upstream="up"))]
    )
    monkeypatch.setattr(module, "login", lambda config, name: "claude-plan")
    monkeypatch.setattr(module, "token_in", names.append)
    module.check_signed_in(cast(Any, SimpleNamespace(upstreams={"up": http(key_env=key_env)})))
    assert names == [asked]


def test_a_gateway_has_the_services_of_the_config_and_what_replaces_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    @contextmanager
    def lasting(name: str, value: Any) -> Iterator[Any]:
        said.append(name)
        try:
            yield value
        finally:
            said.append(f"no {name}")

    def gateway(*values: Any, **more: Any) -> Any:
        said.append((*values, more))
        return lasting("gateway", "the gateway")

    monkeypatch.setattr(module, "open_upstream", lambda block: lasting(block, f"for {block}"))
    monkeypatch.setattr(module, "Gateway", gateway)
    monkeypatch.setattr(module, "scratch_dir", lambda: tmp_path)
    config: Any = SimpleNamespace(
        upstreams={"a": "block a", "b": "block b", "c": "block c"},
        patience=SimpleNamespace(total=70.0, first_byte=7.0),
    )
    given: Any = {"b": "mine", "d": "another"}
    price, on_wait, on_plan = cast(Any, ("price", "on wait", "on plan"))
    with open_gateway(config, given, price, on_wait, on_plan) as found:
        assert found == cast(Any, "the gateway")
        ((upstreams, socket, *rest),) = [one for one in said if isinstance(one, tuple)]
        assert upstreams == {
            "a": "for block a", "b": "mine", "c": "for block c", "d": "another",
        }  # fmt: skip
        assert socket.name == "gateway.sock" and socket.parent.parent == tmp_path
        waits = Patience(70.0, first_byte_s=7.0)
        assert rest == ["price", waits, "on wait", {"on_plan": "on plan"}]
    assert [one for one in said if isinstance(one, str)] == [
        "block a", "block c", "gateway", "no gateway", "no block c", "no block a",
    ]  # fmt: skip
    assert not list(tmp_path.iterdir())
