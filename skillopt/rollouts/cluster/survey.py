"""Calls a function on each node of a cluster, outside of any run: for ``doctor`` and ``clean``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from skillopt.config.executors import RayConfig
from skillopt.rollouts.cluster.machines import RayMachines, first_line
from skillopt.rollouts.executors import check_ray

T = TypeVar("T")
WAIT_S = 300.0
"""Seconds that nodes may take."""


def survey(config: RayConfig, function: Callable[[], T]) -> Iterator[tuple[str, T | str]]:
    """The results of a function on the nodes of a cluster.

    Args:
        config: has its address.
        function: at the top of a module, so that nodes find it by its name.

    Yields:
        The node's name, and the result; or why there is none, as text.

    Raises:
        PluginError: Ray is not installed.
        ClusterError: there is no cluster.
    """
    check_ray()
    import ray
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with closing(RayMachines(config)) as machines:
        calls = {}
        for node, name in machines.alive().items():
            here = NodeAffinitySchedulingStrategy(node, soft=False)
            task = ray.remote(_call).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
            calls[name] = task.remote(function)
        until = time.monotonic() + WAIT_S
        for name, call in calls.items():
            try:
                yield name, ray.get(call, timeout=max(0.0, until - time.monotonic()))
            except GetTimeoutError:
                yield name, f"no reply within {WAIT_S:g} s"
            except RayTaskError as error:  # Its own text begins with where it was raised.
                yield name, first_line(error.cause or error)
            except RayError as error:
                yield name, first_line(error)


def _call(function: Callable[[], T]) -> T:
    return function()
