"""Which language each document of the corpus is in, for the words of its senses.

The plan reads it from the corpus; the result keeps it, so that senses can be made anew without the
corpus. Where no document has a language there is no such file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from polyseme.contract.files.results import LANGUAGES
from polyseme.contract.files.seals import SealedFolder
from polyseme.workers.analysis.files.arrays import (
    pack_texts,
    read_arrays,
    unpack_texts,
    write_arrays,
)
from polyseme.workers.analysis.steps.analysis import Analysis


@dataclass(frozen=True, eq=False)
class DocumentLanguages:
    """Of D documents."""

    names: Sequence[str]  # in the order in which they first come
    code: np.ndarray  # (D,) int16, which of the names; -1 for none

    @classmethod
    def of(cls, languages: Iterable[str | None]) -> DocumentLanguages:
        codes: dict[str | None, int] = {None: -1}
        numbered = (codes.setdefault(name, len(codes) - 1) for name in languages)
        code = np.fromiter(numbered, np.int16)
        return cls([name for name in codes if name is not None], code)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> DocumentLanguages:
        names = unpack_texts(arrays["name_bytes"], arrays["name_offsets"])
        return cls(names.to_pylist(), arrays["code"])

    def to_arrays(self) -> dict[str, np.ndarray]:
        content, offsets = pack_texts(pa.array(self.names, pa.string()))
        return {"code": self.code, "name_bytes": content, "name_offsets": offsets}

    def of_documents(self, documents: np.ndarray) -> list[str | None]:
        """documents: (C,) their numbers."""
        named = [*self.names, None]  # -1 is the last
        return [named[code] for code in self.code[documents].tolist()]


def has_languages(analysis: Analysis) -> bool:
    return bool(analysis.request.senses.enabled and analysis.corpus.languages)


def note_languages(analysis: Analysis, languages: Iterable[str | None]) -> None:
    """Puts them into the work folder. languages: of each document."""
    noted = DocumentLanguages.of(languages)
    write_arrays(analysis.store, f"{analysis.work}/{LANGUAGES}", noted.to_arrays())


def keep_languages(analysis: Analysis, result: SealedFolder) -> None:
    """Puts them into the result. Raises DamagedFile."""
    if has_languages(analysis):
        # Read first: a damaged one must not get into the result.
        arrays = read_arrays(analysis.store, f"{analysis.work}/{LANGUAGES}")
        write_arrays(result, LANGUAGES, arrays)


def read_languages(
    analysis: Analysis, folder: str, documents: np.ndarray
) -> Sequence[str | None] | None:
    """Of some documents, (C,) their numbers; None where none has a language.

    folder: the work folder, or that of a result. Raises DamagedFile.
    """
    if not has_languages(analysis):
        return None
    noted = DocumentLanguages.from_arrays(read_arrays(analysis.store, f"{folder}/{LANGUAGES}"))
    return noted.of_documents(documents)
