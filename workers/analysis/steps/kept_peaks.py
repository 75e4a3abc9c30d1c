"""What the last step must know of each layer's peaks, as a file of the work folder.

Written with a layer's reports, and joined over the layers into the file of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from polyseme.workers.analysis.contexts.peak_places import NEAR
from polyseme.workers.analysis.files.arrays import (
    pack_texts,
    read_arrays,
    unpack_texts,
    write_arrays,
)
from polyseme.workers.analysis.senses.layer_senses import Peaks
from polyseme.workers.analysis.steps.analysis import Analysis, peaks_file

_TEXTS = ("word", "before", "after")


@dataclass(frozen=True, eq=False)
class KeptPeaks:
    """Different places, by row and position. U of them."""

    row: np.ndarray  # (U,) int64, where the window came when they ran
    window: np.ndarray  # (U,) int64
    position: np.ndarray  # (U,) int64
    token: np.ndarray  # and so on, as `Peaks` has them
    word: pa.Array
    before: pa.Array
    after: pa.Array
    near: np.ndarray

    @property
    def keys(self) -> np.ndarray:
        """(U,) int64, ascending."""
        return self.row << 32 | self.position

    @property
    def columns(self) -> dict[str, np.ndarray | pa.Array]:
        """Of the file of vectors, but for these."""
        near = pa.FixedSizeListArray.from_arrays(pa.array(self.near.ravel()), 2 * NEAR + 1)
        return vars(self) | {"near": near}

    def take(self, at: np.ndarray) -> KeptPeaks:
        texts = {n: vars(self)[n].take(pa.array(at)) for n in _TEXTS}
        others = {n: a[at] for n, a in vars(self).items() if n not in _TEXTS}
        return KeptPeaks(**others, **texts)

    def join(self, other: KeptPeaks) -> KeptPeaks:
        """The places of both, each once."""
        texts = {n: pa.concat_arrays([vars(self)[n], vars(other)[n]]) for n in _TEXTS}
        arrays = {
            n: np.concatenate([a, vars(other)[n]]) for n, a in vars(self).items() if n not in _TEXTS
        }
        joined = KeptPeaks(**arrays, **texts)
        return joined.take(np.unique(joined.keys, return_index=True)[1])


def write_peaks(analysis: Analysis, layer: int, row: np.ndarray, peaks: Peaks) -> None:
    """row: (U,) of each of the peaks."""
    columns = {n: array for n, array in vars(peaks).items() if n != "place"}
    kept = KeptPeaks(row=row, **columns)
    kept = kept.take(np.lexsort((peaks.position, row)))
    arrays = {name: array for name, array in vars(kept).items() if name not in _TEXTS}
    for name in _TEXTS:
        arrays[f"{name}_bytes"], arrays[f"{name}_offsets"] = pack_texts(vars(kept)[name])
    write_arrays(analysis.store, peaks_file(analysis, layer), arrays)


def read_peaks(analysis: Analysis, layer: int) -> KeptPeaks:
    """Raises DamagedFile."""
    arrays = read_arrays(analysis.store, peaks_file(analysis, layer))
    texts = {n: unpack_texts(arrays.pop(f"{n}_bytes"), arrays.pop(f"{n}_offsets")) for n in _TEXTS}
    return KeptPeaks(**arrays, **texts)


def join_peaks(analysis: Analysis) -> KeptPeaks:
    """Of all layers."""
    first, *others = analysis.layers
    joined = read_peaks(analysis, first)
    for layer in others:
        joined = joined.join(read_peaks(analysis, layer))
    return joined
