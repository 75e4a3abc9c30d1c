"""The table of sites."""

from __future__ import annotations

from polyseme.contract.records.model_card import SiteCard
from polyseme.workers.analysis.families.parts import Parts
from polyseme.workers.analysis.sites import attention, mlp, mlp_sides, residual
from polyseme.workers.analysis.sites.site import Site

SITES: dict[str, Site] = {
    site.name: site
    for site in (
        mlp.SITE,
        residual.PRE,
        residual.MID,
        residual.POST,
        mlp_sides.IN,
        mlp_sides.OUT,
        mlp_sides.OUT_RAW,
        attention.OUT,
        attention.Z,
    )
}


def describe_sites(parts: Parts) -> tuple[SiteCard, ...]:
    """Also those that the model does not have, with the reason. parts: may be without weights."""
    return tuple(site.card(parts) for site in SITES.values())
