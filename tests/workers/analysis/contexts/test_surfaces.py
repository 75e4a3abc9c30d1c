"""Surface texts against slices of the documents, cut plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polyseme.contract.records.request import Contexts, Tokens
from polyseme.workers.analysis.contexts.choose import ContextTable
from polyseme.workers.analysis.contexts.peak_places import read_places
from polyseme.workers.analysis.contexts.peak_tokens import list_peak_texts
from polyseme.workers.analysis.contexts.surfaces import Surfaces, cut_surfaces
from polyseme.workers.analysis.corpus.plan import cut_windows
from polyseme.workers.analysis.corpus.windows import Window, Windows, pack, unpack
from polyseme.workers.analysis.models.token_texts import read_vocabulary
from polyseme.workers.analysis.models.tokens import Framing, tokenize
from tests.tiny_models import bos_tokenizer, framed_tokenizer, plain_tokenizer

DOCUMENTS = [
    "A café by the harbour; cafe\u0301 was it.",
    "שָׁלוֹם world",
    "日本語のテキスト",
    "two 👩\u200d👩\u200d👧 and\ra\r\ndog",
    "def f(x):\n    return  x",
]
FRAMING = Framing((1,), (2,), 3, frozenset({1, 2, 3}), 0)
SHOWN = 6


def make_windows(tokenizer: Any, packing: Any = "document") -> Windows:
    contexts = Contexts(window=16, packing=packing)
    cut = cut_windows(
        DOCUMENTS, lambda batch: tokenize(tokenizer, batch), FRAMING, contexts, Tokens()
    )
    made: list[Window] = list(cut)
    return unpack(pack(made[::-1]))  # rows are in another order than numbers


def contexts_at_every_token(windows: Windows) -> ContextTable:
    """A context at each token, of up to SHOWN tokens before it and one behind it."""
    row = np.repeat(np.arange(len(windows)), windows.lengths)
    position = np.arange(len(row)) - windows.offsets[row]
    start = np.maximum(position - SHOWN, 0)
    end = np.minimum(position + 2, windows.lengths[row])
    at = np.concatenate(
        [windows.offsets[r] + np.arange(a, b) for r, a, b in zip(row, start, end, strict=True)]
    )
    n = len(row)
    return ContextTable(
        neuron=np.zeros(n, np.int64),
        tail=np.full(n, "positive"),
        sample=np.full(n, "top"),
        band=np.full(n, -1),
        document=windows.documents,
        window=windows.number[row],
        position=position,
        char_start=windows.starts,
        char_end=windows.ends,
        activation=np.ones(n, np.float32),
        peak_token=windows.ids,
        shown=np.ones(n, bool),
        display_start=start,
        display_offsets=np.concatenate([[0], np.cumsum(end - start)]),
        tokens=windows.ids[at],
        activations=np.zeros(len(at), np.float32),
    )


def spans_in(document: str, windows: Windows, table: ContextTable, i: int) -> list[Any]:
    """Plainly: the place of each shown token in the document, None outside of it."""
    [row] = np.flatnonzero(windows.number == table.window[i])
    first = windows.offsets[row] + table.display_start[i]
    size = table.display_offsets[i + 1] - table.display_offsets[i]
    shown = range(first, first + size)
    return [
        (int(windows.starts[t]), int(windows.ends[t]))
        if windows.documents[t] == table.document[i] and windows.ends[t] > windows.starts[t]
        else None
        for t in shown
    ]


def given_spans(surfaces: Surfaces, table: ContextTable, i: int) -> list[Any]:
    shown = range(table.display_offsets[i], table.display_offsets[i + 1])
    return [
        (int(surfaces.token_starts[t]), int(surfaces.token_ends[t]))
        if surfaces.has_place[t]
        else None
        for t in shown
    ]


@pytest.mark.parametrize("packing", ["document", "concat"])
@pytest.mark.parametrize("make", [plain_tokenizer, bos_tokenizer, framed_tokenizer])
def test_a_context_says_what_its_tokens_span_of_the_peaks_document(make: Any, packing: str) -> None:
    windows = make_windows(make(), packing)
    table = contexts_at_every_token(windows)

    surfaces = cut_surfaces(table, windows)

    for i, document in enumerate(table.document):
        spans = spans_in(DOCUMENTS[document], windows, table, i)
        held = [span for span in spans if span]
        low = min((a for a, _ in held), default=0)
        high = max((b for _, b in held), default=0)
        assert surfaces.text[i] == DOCUMENTS[document][low:high]
        assert given_spans(surfaces, table, i) == [s and (s[0] - low, s[1] - low) for s in spans]
        assert surfaces.has_peak[i] == (table.char_end[i] > table.char_start[i])
        peak = DOCUMENTS[document][table.char_start[i] : table.char_end[i]]
        assert surfaces.text[i][surfaces.peak_start[i] : surfaces.peak_end[i]] == peak


def test_a_layer_without_contexts_has_no_texts() -> None:
    windows = make_windows(plain_tokenizer())
    none = np.zeros(0, np.int64)
    table = ContextTable(
        **{name: none for name in ContextTable.__dataclass_fields__ if name != "display_offsets"},
        display_offsets=np.zeros(1, np.int64),
    )

    surfaces = cut_surfaces(table, windows)

    assert (surfaces.text, len(surfaces.token_starts)) == ([], 0)


def test_what_documents_say_at_peaks_is_listed_where_tokens_read_otherwise() -> None:
    tokenizer = plain_tokenizer()
    windows = make_windows(tokenizer)
    table = contexts_at_every_token(windows)
    vocabulary = read_vocabulary(tokenizer.backend_tokenizer, 400)

    at_peaks = read_places(windows, table.window, table.position, 512)
    places = np.arange(len(table.window))

    [texts] = list_peak_texts(table, places, at_peaks.text, vocabulary, 1)

    assert texts[0] == "👩\u200d👩\u200d👧"  # most pieces
    assert {"日", "é", "e\u0301", "שָׁ"} <= set(texts)
    assert not {"world", "A", ""} & set(texts)
