"""A service's requests are divided among nodes, and never exceeded together."""

from __future__ import annotations

import random

from skillopt.rollouts.cluster.shares import Shares


def settle(shares: Shares, holders: list[str], at: float = 0.0) -> dict[str, int]:
    """Have all holders confirm until nothing changes."""
    for _ in range(3):
        for holder in holders:
            shares.confirm(holder, shares.share(holder, at))
    return {holder: shares.confirmed(holder) for holder in holders}


def test_equal_parts_and_those_that_came_first_get_the_rest() -> None:
    shares = Shares(8)
    for holder in "abc":
        shares.join(holder)
    assert settle(shares, ["a", "b", "c"]) == {"a": 3, "b": 3, "c": 2}


def test_nobody_gets_more_before_another_has_less() -> None:
    shares = Shares(8)
    shares.join("driver", 8)
    shares.join("a")
    assert shares.share("a", 0) == 0
    assert shares.share("driver", 0) == 4
    assert shares.share("a", 0) == 0, "the driver has been told and has not confirmed"
    shares.confirm("driver", 6)
    assert shares.share("a", 0) == 2, "it still has six requests under way"
    shares.confirm("driver", 4)
    assert shares.share("a", 0) == 4


def test_a_lost_nodes_part_is_free_when_it_must_have_ended() -> None:
    shares = Shares(4)
    for holder in "ab":
        shares.join(holder)
    settle(shares, ["a", "b"])
    shares.leave("a", until=20.0)
    assert settle(shares, ["b"], at=19.9) == {"b": 2}
    assert settle(shares, ["b"], at=20.0) == {"b": 4}


def test_more_nodes_than_requests() -> None:
    shares = Shares(2)
    for holder in "abc":
        shares.join(holder)
    assert settle(shares, ["a", "b", "c"]) == {"a": 1, "b": 1, "c": 0}
    assert all(shares.settled(holder) for holder in "abc")


def test_never_more_than_all_whatever_happens() -> None:
    chance = random.Random(7)
    for total in (1, 3, 16):
        shares, at = Shares(total), 0.0
        shares.join("driver", total)
        having = {"driver": total}
        busy: dict[str, float] = {}
        for step in range(600):
            at += chance.random()
            for name in [n for n, until in busy.items() if until <= at]:
                del busy[name], having[name]
            event, names = chance.random(), [n for n in having if n not in busy]
            if event < 0.05:
                shares.join(f"n{step}")
                having[f"n{step}"] = 0
            elif event < 0.08 and len(names) > 1:
                gone = chance.choice([n for n in names if n != "driver"])
                busy[gone] = at + 5
                shares.leave(gone, at + 5)
            else:
                one = chance.choice(names)
                told = shares.share(one, at)
                # It may still have requests from before, which it tells.
                having[one] = max(told, having[one] - chance.randint(0, total))
                shares.confirm(one, having[one])
            assert sum(having.values()) <= total


def test_one_that_is_not_there_or_leaves_has_no_share() -> None:
    shares = Shares(4)
    shares.join("a")
    shares.join("b")
    assert shares.share("c", 0.0) == 0 and shares.confirmed("c") == 0 and shares.settled("c")
    shares.confirm("c", 3)
    shares.leave("c", 5.0)
    assert settle(shares, ["a", "b"]) == {"a": 2, "b": 2}
    shares.leave("b", until=5.0)
    assert shares.share("b", 1.0) == 0 and not shares.settled("a"), "there is more for it soon"
    assert shares.share("a", 1.0) == 2 and shares.share("a", 5.0) == 4


def test_one_that_comes_back_keeps_what_it_may_still_use() -> None:
    shares = Shares(4)
    for holder in "ab":
        shares.join(holder)
    settle(shares, ["a", "b"])
    shares.leave("a", until=20.0)
    shares.join("a")
    assert settle(shares, ["a", "b"], at=21.0) == {"a": 2, "b": 2}


def test_a_holder_that_has_more_than_it_was_told_is_not_settled() -> None:
    shares = Shares(4)
    shares.join("driver", 4)
    shares.join("a")
    assert not shares.settled("driver")
    assert shares.share("driver", 0.0) == 2
    assert not shares.settled("driver")
    shares.confirm("driver", 2)
    assert shares.settled("driver") and not shares.settled("a")
