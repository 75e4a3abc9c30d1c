"""The plan of an analysis: documents -> windows -> blocks -> shards.

Knows nothing of models beyond their token ids.

Everything is a stream: memory depends on the window and the pool, never on the corpus. The blocks
depend only on the documents and the request, not on how many shards there are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa

from polyseme.contract.errors import DamagedFile, EmptyCorpus
from polyseme.contract.files.store import Store
from polyseme.contract.records.request import Contexts, Tokens
from polyseme.workers.analysis.corpus.windows import Window, cut_text, pack, write_blocks
from polyseme.workers.analysis.files.arrays import missing
from polyseme.workers.analysis.models.tokens import Framing

PLAN = "plan.json"  # in the work folder

# Windows are sorted by length within a pool, so that a block's windows are about equally long and
# padding is small: a window for each token of a block, which makes that independent of the block's
# size, within bounds for memory.
POOL_WINDOWS = 1024, 16_384
BLOCK_ROWS = 256

# Windows that fix the sampling bands before the scan: a twentieth of the corpus, within these
# bounds.
CALIBRATION_SHARE = 20
CALIBRATION_FEWEST = 16
CALIBRATION_MOST = 256

# (ids, character starts, character ends) of each of some documents
Tokenize = Callable[[list[str]], Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Shard:
    first_row: int
    rows: int
    tokens: int  # run through the model, without padding
    crc32: int = 0  # of its windows' file


@dataclass(frozen=True)
class Plan:
    documents: int  # read: all of the corpus, unless max_tokens came first
    windows: int
    tokens: int  # run through the model, without padding
    counted_tokens: int  # the denominator of every density
    padding: int  # tokens run for nothing
    shards: tuple[Shard, ...]

    def to_json(self) -> str:
        plan = json.dumps(asdict(self))
        return json.dumps({"plan": plan, "crc32": zlib.crc32(plan.encode())})

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Raises ValueError, KeyError or TypeError for a text that `to_json` did not make."""
        outer = json.loads(text)
        if outer["crc32"] != zlib.crc32(outer["plan"].encode()):
            raise ValueError("its checksum is another")
        data = json.loads(outer["plan"])
        return cls(**data | {"shards": tuple(Shard(**s) for s in data["shards"])})


def cut_windows(
    texts: Iterable[str], tokenize: Tokenize, framing: Framing, contexts: Contexts, tokens: Tokens
) -> Iterator[Window]:
    """The corpus' windows in their order, until `max_tokens` are planned; none without a counted
    token.
    """
    room = contexts.window - len(framing.prefix) - len(framing.suffix)
    pieces = _concat_pieces if contexts.packing == "concat" else _document_pieces
    number = planned = 0
    for piece, of_documents in pieces(_tokenized(texts, tokenize), room, framing):
        window = _frame_piece(number, piece, of_documents, framing, tokens)
        if not window.counted.any():
            continue
        if tokens.max_tokens is not None and planned + len(window) > tokens.max_tokens:
            return
        yield window
        number += 1
        planned += len(window)


def group_blocks(windows: Iterable[Window], block_tokens: int) -> Iterator[list[Window]]:
    """Blocks of at most `block_tokens` tokens, padding included, or of one window; longest first
    within a pool.
    """
    windows = iter(windows)
    fewest, most = POOL_WINDOWS
    size = min(max(block_tokens, fewest), most)
    while pool := list(islice(windows, size)):
        pool.sort(key=lambda w: (-len(w), w.number))
        first = 0
        while first < len(pool):
            rows = min(max(1, block_tokens // len(pool[first])), BLOCK_ROWS)
            yield pool[first : first + rows]
            first += rows


def write_plan(
    store: Store,
    folder: str,
    windows: Iterable[Window],
    *,
    block_tokens: int,
    shard_tokens: int,
    on_tokens: Callable[[int], None],
) -> tuple[Plan, list[Window]]:
    """Writes the windows of each shard under `folder`, then the plan, and returns it with the
    calibration windows.
    """
    sample = _CalibrationSample()
    counter = _Counter()
    shards: list[Shard] = []
    blocks = group_blocks(sample.watch(windows), block_tokens)
    for shard in _group_shards(blocks, shard_tokens):
        before, path = (counter.tokens, counter.windows), windows_file(folder, len(shards))
        with store.writing(path) as f:
            write_blocks(f, map(counter.count, shard))
        with store.open(path) as f:
            crc32 = _checksum(f)
        shards.append(
            Shard(before[1], counter.windows - before[1], counter.tokens - before[0], crc32)
        )
        on_tokens(counter.tokens)
    if not shards:
        raise EmptyCorpus(
            "the corpus gives no window with a counted token: it is empty, or everything is "
            "excluded"
        )
    plan = Plan(
        counter.documents,
        counter.windows,
        counter.tokens,
        counter.counted,
        counter.padding,
        tuple(shards),
    )
    store.write(f"{folder}/{PLAN}", plan.to_json().encode())
    return plan, sample.choose(plan.windows)


def read_plan(store: Store, folder: str) -> Plan:
    """Raises DamagedFile."""
    path = f"{folder}/{PLAN}"
    try:
        return Plan.from_json(store.read(path))
    except FileNotFoundError as e:
        raise missing(path) from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise DamagedFile(f"{path} is damaged: {e}", path=path) from e


def windows_file(folder: str, shard: int) -> str:
    return f"{folder}/windows/{shard:06d}.arrow"


@contextmanager
def open_windows(store: Store, folder: str, plan: Plan, shard: int) -> Iterator[IO[bytes]]:
    """A shard's windows to read, once they are known to be what was written. Raises DamagedFile."""
    path = windows_file(folder, shard)
    try:
        file = store.open(path)
    except FileNotFoundError as e:
        raise missing(path) from e
    with file:
        # Arrow files carry no checksum, and a token read wrong would give a wrong result.
        if _checksum(file) != plan.shards[shard].crc32:
            raise DamagedFile(f"{path} is damaged: its checksum is another", path=path)
        file.seek(0)
        yield file


def _checksum(file: IO[bytes]) -> int:
    crc32 = 0
    while piece := file.read(1 << 20):
        crc32 = zlib.crc32(piece, crc32)
    return crc32


def window_priority(number: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random 31-bit number for each window number, int64: the order in which samples
    are drawn.

    Source: the SplitMix64 finaliser (Steele, Lea and Flood 2014).
    """
    with np.errstate(over="ignore"):
        z = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(33)).astype(np.int64)


# ids, documents, starts, ends, and whether a token is of the text
Piece = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Texts = Mapping[int, str]  # by document


def _tokenized(texts: Iterable[str], tokenize: Tokenize) -> Iterator[tuple[Piece, str]]:
    texts, document = iter(texts), 0
    while batch := list(islice(texts, 64)):
        for text, (ids, starts, ends) in zip(batch, tokenize(batch), strict=True):
            documents, is_text = np.full(len(ids), document, np.int32), np.ones(len(ids), bool)
            yield (ids, documents, starts, ends, is_text), text
            document += 1


def _document_pieces(
    documents: Iterable[tuple[Piece, str]], room: int, framing: Framing
) -> Iterator[tuple[Piece, Texts]]:
    for number, (columns, text) in enumerate(documents):
        for first in range(0, len(columns[0]), room):
            yield _slice(columns, first, first + room), {number: text}


def _concat_pieces(
    documents: Iterable[tuple[Piece, str]], room: int, framing: Framing
) -> Iterator[tuple[Piece, Texts]]:
    """Documents joined by the separator token, which belongs to the one before it, cut every `room`
    tokens.
    """
    zero = np.zeros(1, np.int32)
    held: list[Piece] = []
    texts: dict[int, str] = {}
    size = 0
    for number, (columns, text) in enumerate(documents):
        if len(columns[0]) == 0:
            continue
        separator = np.array([framing.separator], np.int32)
        held += [columns, (separator, columns[1][:1], zero, zero, np.zeros(1, bool))]
        texts[number] = text
        size += len(columns[0]) + 1
        if size >= room:
            joined = _join(held)
            whole = size - size % room
            for first in range(0, whole, room):
                yield _slice(joined, first, first + room), texts
            held, size = [_slice(joined, whole, size)], size - whole
            texts = {number: text}
    if size > 1:
        # The last separator ends nothing that follows.
        yield _slice(_join(held), 0, size - 1), texts


def _slice(piece: Piece, first: int, end: int) -> Piece:
    return tuple(c[first:end] for c in piece)  # type: ignore[return-value]


def _join(pieces: Iterable[Piece]) -> Piece:
    return tuple(np.concatenate(c) for c in zip(*pieces, strict=True))  # type: ignore[return-value]


def _frame_piece(
    number: int, piece: Piece, texts: Texts, framing: Framing, tokens: Tokens
) -> Window:
    """The piece between the model's special tokens, which belong to the document of the token
    beside them.
    """
    ids, documents, starts, ends, is_text = piece
    before, after = len(framing.prefix), len(framing.suffix)
    ids = np.concatenate(
        [np.array(framing.prefix, np.int32), ids, np.array(framing.suffix, np.int32)]
    )
    counted = np.ones(len(ids), bool)
    counted[: tokens.exclude_positions] = False
    if tokens.exclude_special:
        counted &= np.pad(is_text, (before, after))
    return Window(
        number=number,
        ids=ids,
        documents=np.pad(documents, (before, after), mode="edge"),
        starts=np.pad(starts, (before, after)),
        ends=np.pad(ends, (before, after)),
        counted=counted,
        text=cut_text(documents, starts, ends, texts),
    )


def _group_shards(
    blocks: Iterable[list[Window]], shard_tokens: int
) -> Iterator[Iterator[list[Window]]]:
    """Consecutive blocks until `shard_tokens` are reached.

    Each shard must be used up before the next is asked for.
    """
    blocks = iter(blocks)

    def shard(first: list[Window]) -> Iterator[list[Window]]:
        block, tokens = first, 0
        while True:
            yield block
            tokens += sum(map(len, block))
            if tokens >= shard_tokens or (following := next(blocks, None)) is None:
                return
            block = following

    while (first := next(blocks, None)) is not None:
        yield shard(first)


class _Counter:
    """Counts what passes on its way to a file."""

    def __init__(self) -> None:
        self.windows = self.tokens = self.counted = self.padding = self.documents = 0

    def count(self, block: list[Window]) -> pa.RecordBatch:
        size = sum(map(len, block))
        self.windows += len(block)
        self.tokens += size
        self.counted += sum(int(w.counted.sum()) for w in block)
        self.documents = max(self.documents, *(int(w.documents[-1]) + 1 for w in block))
        self.padding += max(map(len, block)) * len(block) - size
        return pack(block)


class _CalibrationSample:
    """The windows of smallest priority among those that pass: a uniform sample whose size is fixed
    afterwards.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, Window]] = []

    def watch(self, windows: Iterable[Window]) -> Iterator[Window]:
        for window in windows:
            self._kept.append((int(window_priority(np.array([window.number]))[0]), window))
            if len(self._kept) >= 4 * CALIBRATION_MOST:
                self._trim(CALIBRATION_MOST)
            yield window

    def choose(self, windows: int) -> list[Window]:
        self._trim(min(max(windows // CALIBRATION_SHARE, CALIBRATION_FEWEST), CALIBRATION_MOST))
        return [window for _, window in self._kept]

    def _trim(self, size: int) -> None:
        self._kept.sort(key=lambda pair: (pair[0], pair[1].number))
        del self._kept[size:]
