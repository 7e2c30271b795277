"""The optimizer's model may think for long, in silence or with signs of life only.

Seconds stand for minutes: the service's own limits are 0.3 s here, a reply may think for 4 s.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.patience import Patience
from harnesses.gateway.upstreams import HttpUpstream
from harnesses.protocols.base import ProtocolName
from skillopt.optimizer.model import OptimizerReplyError, OptimizerUnavailableError
from skillopt.optimizer.replies import Ranking
from skillopt.run.records import Noted, Replied
from skillopt.run.spending import Meter
from skillopt.training.optimizer_model import GatewayModel
from tests.services.service import Scenario, Service, serving
from tests.services.wire import EVENTS, Answer, Asked, Said, events, reply, written

pytestmark = pytest.mark.slow  # Whole runs.

ORDER = '{"reasoning": "r", "order": [2, 1]}'
THINKS = 1.2
"""Seconds, four times the service's own limits."""
PROTOCOLS: tuple[ProtocolName, ...] = ("chat", "messages")


@pytest.fixture(params=PROTOCOLS)
def asking(
    request: pytest.FixtureRequest, tmp_path: Path, quick_retries: None
) -> Iterator[tuple[Callable[..., Ranking], Service, list[object]]]:
    """A function that asks a scenario's service, the service, and the records."""
    records: list[object] = []
    with serving(lambda asked: None) as service:
        upstream = HttpUpstream(
            "openai-compatible", service.url, "", frozenset({request.param}), timeout_s=0.3
        )
        patience = Patience(total_s=3.0, first_byte_s=0.3)
        with Gateway({"up": upstream}, tmp_path / "s", lambda *_: 0.0, patience) as gateway:

            def ask(scenario: Scenario, silence_s: float = 4.0) -> Ranking:
                service.scenario = scenario
                model = GatewayModel(
                    gateway, ModelSpec("up", "m", {}), "1", 1, tmp_path, records.append, Meter(),
                    {}, silence_s=silence_s,
                )  # fmt: skip
                return model.ask("rank", "2 edits", "be good", "rank them", Ranking)

            yield ask, service, records


def thinking(seconds: float) -> Scenario:
    """No byte before the reply."""

    def answer(asked: Asked) -> Answer:
        time.sleep(seconds)
        return reply(asked, Said(ORDER))

    return answer


def streaming(asked: Asked, *before: bytes | float, after: int = 0) -> Answer:
    """A stream with something before one of its events."""
    parts = written(asked.protocol, events(asked.protocol, Said(ORDER)))
    return Answer(200, [*parts[:after], *before, *parts[after:]], EVENTS)


def test_a_model_that_says_nothing_for_long_is_waited_for(asking: tuple) -> None:
    ask, service, records = asking
    assert ask(thinking(THINKS)).order == [2, 1]
    assert len(service.asked) == 1 and service.asked[0].streamed
    assert [type(record) for record in records] == [Replied]


@pytest.mark.parametrize("after", [0, 2])
def test_silence_and_signs_of_life_in_a_stream_are_borne(asking: tuple, after: int) -> None:
    ask, service, _ = asking
    alive = [b": keep-alive\n\n", 0.1] * round(THINKS / 0.1)
    assert ask(lambda asked: streaming(asked, *alive, after=after)).order == [2, 1]
    assert ask(lambda asked: streaming(asked, THINKS, after=after)).order == [2, 1]
    assert len(service.asked) == 2


def test_a_service_that_does_not_stream_is_understood(asking: tuple) -> None:
    ask, _, _ = asking

    def whole(asked: Asked) -> Answer:
        return reply(Asked(asked.protocol, {}, 1), Said(ORDER))

    assert ask(whole).order == [2, 1]


def test_a_stream_that_breaks_off_is_asked_for_again(asking: tuple) -> None:
    ask, service, _ = asking

    def broken(asked: Asked) -> Answer:
        parts = written(asked.protocol, events(asked.protocol, Said(ORDER)))
        return Answer(200, parts[: len(parts) // 2] if asked.number < 3 else parts, EVENTS)

    assert ask(broken).order == [2, 1]
    assert len(service.asked) == 3


def test_one_that_never_replies_is_given_up_with_the_key_to_change(asking: tuple) -> None:
    ask, service, _ = asking
    with pytest.raises(OptimizerUnavailableError, match=r"optimizer\.timeout_s is 0\.5: raise it"):
        ask(thinking(30), silence_s=0.5)
    assert len(service.asked) > 1


def test_a_reply_that_is_cut_is_told_from_a_broken_one(asking: tuple) -> None:
    ask, service, records = asking
    stop = {"chat": "length", "messages": "max_tokens"}

    def cut(asked: Asked) -> Answer:
        return reply(asked, Said('{"reasoning": "so I', stop=stop[asked.protocol]))

    with pytest.raises(OptimizerReplyError, match=r"cut at its token limit.*in the middle of an o"):
        ask(cut)
    again = json.dumps(service.asked[1].body)
    assert "It was cut off before its end" in again and "shorter" in again
    with pytest.raises(OptimizerReplyError) as broken:
        ask(lambda asked: reply(asked, Said('{"reasoning": "so I think"}')))
    assert "cut" not in str(broken.value)
    assert isinstance(records[-1], Replied) and not any(isinstance(r, Noted) for r in records)
