"""What a summary says of the dictionaries whose latents were analysed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Described = Mapping[str, Any]  # as a manifest has a dictionary


def summarise_dictionary(described: Described, latents: pa.Table) -> dict[str, Any]:
    """latents: the scalars of its layer. Active latents a token are known where all latents were
    analysed.
    """
    is_whole = len(latents) == described["latents"]
    fit = described["fit"]
    return {
        **{name: described[name] for name in ("id", "hook", "expected_l0")},
        "l0": pc.sum(latents.column("density")).as_py() if is_whole else None,
        "fraction_of_variance_unexplained": None if fit is None else fit["here"]["unexplained"],
        "elsewhere": {} if fit is None else _unexplained(fit["elsewhere"]),
        "misfits": [] if fit is None else fit["misfits"],
    }


def _unexplained(fits: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: fit["unexplained"] for name, fit in fits.items()}


def warn_of_misfits(described: Sequence[Described]) -> Iterator[str]:
    """A sentence for each dictionary that does not fit."""
    for dictionary in described:
        misfits = (dictionary["fit"] or {}).get("misfits", [])
        if misfits:
            why = "; ".join(misfit["detail"] for misfit in misfits)
            yield (
                f"The dictionary {dictionary['id']} does not seem to fit {dictionary['hook']} of "
                f"this model in this text: {why}. Its latents may mean nothing."
            )
