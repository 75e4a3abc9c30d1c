"""The table of metrics, the dashboard, the alerts and the scaler name metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from tests.deploy.conftest import DEPLOY, names_of
from tests.test_docs import section

DASHBOARD = DEPLOY / "grafana/polyseme.json"
ALERTS = DEPLOY / "prometheus/alerts.yml"
SCALER = DEPLOY / "kubernetes/components/keda/scaledobject.yaml"


def alert_rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> dict[str, str]:
    """Every query in the files, by where it is."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = {
        f"{panel['title']} {t['refId']}": t["expr"] for panel in panels for t in panel["targets"]
    }
    found |= {rule["alert"]: rule["expr"] for rule in alert_rules()}
    triggers = yaml.safe_load(SCALER.read_text())["spec"]["triggers"]
    return found | {
        f"scaler {i}": trigger["metadata"]["query"] for i, trigger in enumerate(triggers)
    }


def documented() -> dict[str, set[str]]:
    """Labels by metric, from the table of the operations page."""
    rows = re.findall(
        r"(?m)^\| `(polyseme_\w+)` \|([^|]*)\|", section("docs/operations.md", "Metrics")
    )
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_the_table_of_metrics_is_what_api_and_workers_serve(families: list[Metric]) -> None:
    served = {family.name + ("_total" if family.type == "counter" else "") for family in families}

    assert set(documented()) == served


def test_the_tables_labels_are_those_of_the_samples(families: list[Metric]) -> None:
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == documented()[name], sample.name


def test_names_follow_prometheus_practice(families: list[Metric]) -> None:
    for family in families:
        assert re.fullmatch(r"polyseme_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_total", "_count", "_sum"))


@pytest.mark.parametrize("where", expressions())
def test_every_query_names_metrics_that_exist(where: str, families: list[Metric]) -> None:
    served = set().union(*map(names_of, families))

    asked = set(re.findall(r"polyseme_\w+", expressions()[where]))

    assert asked
    assert asked <= served


@pytest.mark.parametrize("where", expressions())
def test_every_label_of_a_query_is_one_of_its_metric(where: str) -> None:
    added = {"instance", "job", "le"}  # by Prometheus, and by histograms
    text = expressions()[where]
    asked = set(re.findall(r"(\w+)\s*(?:=~?|!=|!~)\s*\"", text))
    asked |= {
        n
        for names in re.findall(r"(?:by|without|ignoring|on) \(([^)]*)\)", text)
        for n in re.split(r",\s*", names)
    }

    known = {
        label
        for name in re.findall(r"polyseme_\w+", text)
        for label in documented()[re.sub(r"_(bucket|count|sum)$", "", name)]
    }

    assert asked <= known | added


def test_every_metric_is_on_the_dashboard(families: list[Metric]) -> None:
    shown = set(re.findall(r"polyseme_\w+", DASHBOARD.read_text()))

    for family in families:
        assert names_of(family) & shown, family.name


def test_every_alert_says_how_bad_and_what() -> None:
    for rule in alert_rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus"
)
def test_promtool_takes_the_rules_and_their_tests() -> None:
    folder = DEPLOY / "prometheus"
    for command in (
        "check rules alerts.yml",
        "test rules alerts_test.yml",
        "check config prometheus.yml",
    ):
        done = subprocess.run(
            ["promtool", *command.split()], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
