"""Sites of finished results, when nothing of a model is at hand: they are named and counted, and
nothing is read there.
"""

from __future__ import annotations

from typing import NoReturn

from polyseme.contract.records.model_card import SiteCard
from polyseme.workers.analysis.sites.controls import Recipe
from polyseme.workers.analysis.sites.site import Site


def _unread(*_: object) -> NoReturn:
    raise AssertionError("a site of a result was to be read in a model")


def recall_site(card: SiteCard, controls: str | None) -> Site:
    """controls: the recipe's name of its control units; None where there were none."""
    return Site(
        name=card.site,
        hook=lambda family: card.hook,
        units=lambda parts: card.units,
        signed=lambda family: card.signed,
        point=_unread,
        directions=_unread,
        controls=None if controls is None else Recipe(controls, _unread),
    )
