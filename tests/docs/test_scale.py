"""The examples of docs/scale.md for clusters, as far as they can be checked without one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from skillopt.config.executors import RayConfig
from tests.helpers.documents import Block, blocks

FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
        "headGroupSpec", "headServiceAnnotations", "managedBy", "rayVersion", "suspend",
        "workerGroupSpecs",
    },
    "spec.headGroupSpec": {
        "enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType",
        "template",
    },
    "spec.workerGroupSpecs": {
        "groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts",
        "rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template",
    },
    "spec.authOptions": {"mode", "secretName", "enableK8sTokenAuth"},
}  # fmt: skip
"""The fields of a RayCluster, from KubeRay's API reference (ray.io/v1)."""
CONTAINER = {
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe",
    "name", "ports", "readinessProbe", "resources", "securityContext", "startupProbe",
    "volumeMounts", "workingDir",
}  # fmt: skip


def block(title: str) -> Block:
    return next(found for found in blocks("docs/scale.md") if found.title == title)


@pytest.mark.slow
def test_the_cluster_for_kubernetes_has_only_fields_that_there_are() -> None:
    found: dict[str, Any] = yaml.safe_load(block("cluster.yaml").text)
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayCluster")
    spec = found["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert found.keys() <= FIELDS[""] and spec.keys() <= FIELDS["spec"]
    assert spec["headGroupSpec"].keys() <= FIELDS["spec.headGroupSpec"]
    assert spec["authOptions"].keys() <= FIELDS["spec.authOptions"]
    assert all(g.keys() <= FIELDS["spec.workerGroupSpecs"] for g in spec["workerGroupSpecs"])
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert pod.keys() <= {"containers", "volumes"}
        for container in pod["containers"]:
            assert container.keys() <= CONTAINER
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
    started = {option for group in groups for option in group["rayStartParams"]}
    assert started <= ray_options()


def ray_options() -> set[str]:
    """The options of ``ray start``."""
    code = "from ray.scripts.scripts import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "start", "--help"], capture_output=True, text=True, check=True
    )
    return set(re.findall(r"--([a-z][a-z-]+)", done.stdout))


def test_the_job_for_slurm_is_a_script(tmp_path: Path) -> None:
    script = tmp_path / "train.sbatch"
    script.write_text(block("train.sbatch").text)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text().startswith("#!/bin/bash\n#SBATCH")


@pytest.mark.slow
def test_options_of_ray_start_are_there() -> None:
    told = "\n".join(found.text for found in blocks("docs/scale.md")).replace("\\\n", " ")
    started = re.findall(r"ray start (.*)", told)
    used = {option for line in started for option in re.findall(r"--([a-z][a-z-]+)", line)}
    assert len(started) >= 4 and used <= ray_options()


def test_every_key_is_shown_with_its_default() -> None:
    text = next(b.text for b in blocks("docs/scale.md") if "silence_s" in b.text)
    shown = yaml.safe_load(text)["executor"]
    assert shown == RayConfig(kind="ray").model_dump()


@pytest.mark.parametrize("name", ["authOptions", "headGroupSpec"])
def test_a_field_that_there_is_not_would_be_found(name: str) -> None:
    spec = yaml.safe_load(block("cluster.yaml").text)["spec"]
    spec[f"{name}s"] = spec.pop(name)
    assert not spec.keys() <= FIELDS["spec"]
