"""The table of sites."""

from __future__ import annotations

from typing import Any

from polyseme.contract.records.model_card import SiteCard
from polyseme.workers.analysis.families.architectures import Family
from polyseme.workers.analysis.sites import mlp
from polyseme.workers.analysis.sites.site import Site

SITES: dict[str, Site] = {site.name: site for site in (mlp.SITE,)}


def describe_sites(config: Any, family: Family) -> tuple[SiteCard, ...]:
    return tuple(site.card(config, family) for site in SITES.values())
