"""Whether a dictionary fits what it is given: activations in, figures out.

A dictionary that is misread (another layer or side, a bias or a norm left out, another activation
function) decodes to something else, or has another number of active latents. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from polyseme.contract.errors import NonFiniteActivation
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary

MOST_UNEXPLAINED = 0.6  # of the variance: above, it does not fit
BETTER_ELSEWHERE = 0.9  # of the unexplained part here: below, another place fits better
_TOGETHER = 1 << 24  # latents in memory at once
MOST_L0_RATIO = 2.0  # between the active latents and those that its files promise


@dataclass(frozen=True)
class Fit:
    tokens: int
    l0: float  # mean active latents a token
    # Of the target's variance over the tokens, 0 or more; None without a decoder, and where the
    # target does not vary.
    unexplained: float | None


@dataclass(frozen=True)
class Misfit:
    code: Literal["unexplained", "elsewhere", "l0"]
    detail: str  # a sentence


class FitStatistic:
    """Sums over tokens, from which a fit follows; sums of parts add up."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self.tokens, self.active = 0, 0
        self.error = 0.0  # squared, of what was decoded
        self.squares = 0.0  # of the target
        self.total: Tensor | None = None  # (E,) float64, of the target

    def update(self, x: Tensor, target: Tensor | None = None) -> None:
        """x: (T, D) at the source; target: (T, E), of an SAE None."""
        wanted = x if target is None else target
        rows = max(_TOGETHER // self._dictionary.latents, 64)
        for some, of_some in zip(x.split(rows), wanted.split(rows), strict=True):
            self._update(some, of_some)

    def _update(self, x: Tensor, target: Tensor) -> None:
        latents = self._dictionary.encode(x)
        self.tokens += len(x)
        self.active += int((latents != 0).sum())
        if self._dictionary.decoder is None:
            return
        wanted = target.double()
        decoded = self._dictionary.decode(latents, x).double()
        self.error += float((wanted - decoded).square().sum())
        self.squares += float(wanted.square().sum())
        total = wanted.sum(0)
        self.total = total if self.total is None else self.total + total

    def takes(self, x: Tensor, target: Tensor) -> bool:
        """Whether activations are as wide as the dictionary's ends."""
        decoder = self._dictionary.decoder
        width = target.shape[1] if decoder is None else decoder.weight.shape[1]
        return x.shape[1] == self._dictionary.width and target.shape[1] == width

    def merge(self, other: FitStatistic) -> None:
        self.tokens += other.tokens
        self.active += other.active
        self.error += other.error
        self.squares += other.squares
        if other.total is not None:
            self.total = other.total if self.total is None else self.total + other.total

    def compute(self) -> Fit:
        """L0 is 0 where there are no tokens.

        Raises NonFiniteActivation where what was given or decoded is not finite.
        """
        l0 = self.active / self.tokens if self.tokens else 0.0
        if self.total is None:
            return Fit(self.tokens, l0, None)
        if not math.isfinite(self.error + self.squares):
            raise NonFiniteActivation("activations, or what is decoded of them, are not finite")
        variance = self.squares - float(self.total.square().sum()) / self.tokens
        # What is left when equal sums are taken off each other is rounding.
        varies = variance > 1e-12 * self.squares
        return Fit(self.tokens, l0, self.error / variance if varies else None)


def measure_fit(dictionary: Dictionary, x: Tensor, target: Tensor | None = None) -> Fit:
    """x: (T, D) at the source; target: (T, E), of an SAE None."""
    statistic = FitStatistic(dictionary)
    with torch.inference_mode():
        statistic.update(x, target)
    return statistic.compute()


def find_misfits(
    here: Fit,
    elsewhere: Mapping[str, Fit],
    expected_l0: float | None,
    most_active: int | None = None,
) -> tuple[Misfit, ...]:
    """What speaks against the dictionary being read right; nothing where all is well.

    elsewhere: fits at neighbouring places, by their names; expected_l0 and most_active: of a token,
    as its files say.
    """
    found = [
        _judge_variance(here),
        _judge_places(here, elsewhere),
        _judge_limit(here, most_active) or _judge_l0(here, expected_l0),
    ]
    return tuple(misfit for misfit in found if misfit is not None)


def _judge_variance(here: Fit) -> Misfit | None:
    if here.unexplained is None or here.unexplained <= MOST_UNEXPLAINED:
        return None
    return Misfit(
        "unexplained",
        f"it leaves {here.unexplained:.2f} of the variance unexplained, more than "
        f"{MOST_UNEXPLAINED}",
    )


def _judge_places(here: Fit, elsewhere: Mapping[str, Fit]) -> Misfit | None:
    if here.unexplained is None:
        return None
    parts = {name: fit.unexplained for name, fit in elsewhere.items()}
    known = {name: part for name, part in parts.items() if part is not None}
    if not known:
        return None
    best = min(known, key=lambda name: known[name])
    if known[best] >= BETTER_ELSEWHERE * here.unexplained:
        return None
    return Misfit(
        "elsewhere",
        f"it fits {best} better: {known[best]:.2f} of the variance unexplained there, "
        f"{here.unexplained:.2f} here",
    )


def _judge_limit(here: Fit, most: int | None) -> Misfit | None:
    if most is None or here.l0 <= most:
        return None
    return Misfit(
        "l0", f"{here.l0:.1f} latents are active at a token, where a top-k has at most {most}"
    )


def _judge_l0(here: Fit, expected: float | None) -> Misfit | None:
    if expected is None or not here.tokens:
        return None
    if expected / MOST_L0_RATIO <= here.l0 <= expected * MOST_L0_RATIO:
        return None
    return Misfit(
        "l0", f"{here.l0:.1f} latents are active at a token, its files promise {expected:g}"
    )
