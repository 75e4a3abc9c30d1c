"""The manifests, rendered as kubectl would, are valid by the schema and keep what the rest of the
project says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import yaml

from polyseme.contract.records.catalogue import load_catalogue
from polyseme.contract.settings import Settings
from tests.deploy.conftest import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu")
NEEDS_KUBECTL = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs kubectl, for `kubectl kustomize`"
)

Manifest = dict[str, Any]


def read_base() -> list[Manifest]:
    files = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())["resources"]
    return [
        m for file in files for m in yaml.safe_load_all((KUBERNETES / "base" / file).read_text())
    ]


def render(overlay: str) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    return list(
        yaml.safe_load_all(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
    )


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates by name."""
    return {
        m["metadata"]["name"]: m["spec"]["template"]
        for m in manifests
        if m["kind"] in ("Deployment", "StatefulSet")
    }


def containers(manifests: list[Manifest]) -> Iterator[Manifest]:
    for pod in pods(manifests).values():
        yield from pod["spec"]["containers"]


def check_schema(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for manifest in manifests:
        if manifest["apiVersion"] != "keda.sh/v1alpha1":
            validate.validate(manifest, validate.latest_version(), strict=True)


def test_the_base_is_valid_by_the_schema() -> None:
    check_schema(read_base())


@NEEDS_KUBECTL
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid_by_the_schema(overlay: str) -> None:
    check_schema(render(overlay))


@NEEDS_KUBECTL
def test_the_gpu_overlay_asks_for_one_gpu_and_leaves_the_count_to_the_scaler() -> None:
    manifests = render("gpu")

    (worker,) = (
        m
        for m in manifests
        if m["kind"] == "Deployment" and m["metadata"]["name"] == "polyseme-worker"
    )
    (scaler,) = (m for m in manifests if m["kind"] == "ScaledObject")
    assert "replicas" not in worker["spec"]
    assert (
        worker["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
        == "1"
    )
    assert scaler["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]


def test_no_container_runs_as_root_or_writes_to_its_image() -> None:
    manifests = read_base()

    for pod in pods(manifests).values():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_has_probes_and_limits() -> None:
    for container in containers(read_base()):
        assert {"startupProbe", "livenessProbe"} <= set(container)
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_every_selector_finds_its_pods() -> None:
    manifests = read_base()
    labels = {
        name: pod["metadata"]["labels"]["app.kubernetes.io/name"]
        for name, pod in pods(manifests).items()
    }

    assert all(name == label for name, label in labels.items())
    named = set(
        re.findall(r"app\.kubernetes\.io/name['\"]?: ['\"]?([\w-]+)", yaml.safe_dump(manifests))
    )
    listed = {
        v
        for found in re.findall(
            r"values: \[([^\]]*)\]", (KUBERNETES / "base/network.yaml").read_text()
        )
        for v in found.split(", ")
    }
    assert named | listed == set(labels)


def test_every_mount_has_its_volume_and_every_volume_its_source() -> None:
    manifests = read_base()
    generated = {
        g["name"]
        for g in yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())[
            "configMapGenerator"
        ]
    }
    claims = {m["metadata"]["name"] for m in manifests if m["kind"] == "PersistentVolumeClaim"}

    for name, pod in pods(manifests).items():
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        mounted = {m["name"] for c in pod["spec"]["containers"] for m in c["volumeMounts"]}
        assert mounted - set(volumes) <= {"data"}, name  # of the stateful set's template
        for volume in volumes.values():
            assert volume.get("configMap", {}).get("name", "polyseme-catalogue") in generated
            assert (
                volume.get("persistentVolumeClaim", {}).get("claimName", "polyseme-store") in claims
            )


def test_the_variables_are_settings() -> None:
    variables = {f"POLYSEME_{f.name.upper()}" for f in fields(Settings)}
    files = [
        *KUBERNETES.rglob("*.yaml"),
        DEPLOY.parent / "docker-compose.yml",
        *DEPLOY.glob("*.Dockerfile"),
    ]

    named = {name for file in files for name in re.findall(r"\bPOLYSEME_[A-Z_]+", file.read_text())}

    assert named <= variables


def test_redis_is_configured_as_in_the_compose_file() -> None:
    assert (KUBERNETES / "base/redis.conf").read_text() == (DEPLOY / "redis.conf").read_text()


def test_the_catalogue_is_one_that_loads() -> None:
    assert load_catalogue(KUBERNETES / "base/models.toml")


def test_pods_are_given_longer_to_end_than_their_processes_take() -> None:
    found = pods(read_base())
    dockerfile = (DEPLOY / "api.Dockerfile").read_text()
    [graceful_timeout] = re.findall(r"--graceful-timeout=(\d+)", dockerfile)

    api = found["polyseme-api"]["spec"]
    pause = int(api["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert api["terminationGracePeriodSeconds"] > pause + int(graceful_timeout)
