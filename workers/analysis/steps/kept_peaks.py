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


@dataclass(frozen=True, eq=False)
class KeptPeaks:
    """Different places, by row and position. U of them."""

    row: np.ndarray  # (U,) int64, where the window came when they ran
    window: np.ndarray  # (U,) int64
    position: np.ndarray  # (U,) int64
    token: np.ndarray  # and so on, as `Peaks` has them
    word: pa.Array
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
        words = self.word.take(pa.array(at))
        others = {n: a[at] for n, a in vars(self).items() if n != "word"}
        return KeptPeaks(**others, word=words)

    def join(self, other: KeptPeaks) -> KeptPeaks:
        """The places of both, each once."""
        words = pa.concat_arrays([self.word, other.word])
        arrays = {
            n: np.concatenate([a, vars(other)[n]]) for n, a in vars(self).items() if n != "word"
        }
        joined = KeptPeaks(**arrays, word=words)
        return joined.take(np.unique(joined.keys, return_index=True)[1])


def write_peaks(analysis: Analysis, layer: int, row: np.ndarray, peaks: Peaks) -> None:
    """row: (U,) of each of the peaks."""
    kept = KeptPeaks(row, peaks.window, peaks.position, peaks.token, peaks.word, peaks.near)
    kept = kept.take(np.lexsort((peaks.position, row)))
    arrays = {name: array for name, array in vars(kept).items() if name != "word"}
    arrays["word_bytes"], arrays["word_offsets"] = pack_texts(kept.word)
    write_arrays(analysis.store, peaks_file(analysis, layer), arrays)


def read_peaks(analysis: Analysis, layer: int) -> KeptPeaks:
    """Raises DamagedFile."""
    arrays = read_arrays(analysis.store, peaks_file(analysis, layer))
    words = unpack_texts(arrays.pop("word_bytes"), arrays.pop("word_offsets"))
    return KeptPeaks(**arrays, word=words)


def join_peaks(analysis: Analysis) -> KeptPeaks:
    """Of all layers."""
    first, *others = analysis.layers
    joined = read_peaks(analysis, first)
    for layer in others:
        joined = joined.join(read_peaks(analysis, layer))
    return joined
