"""Streaming top-k lists, exact and mergeable.

Knows nothing of models or hooks: tensors in, tensors out.

An entry's place in a list is decided by one int64 key, so ties cannot depend on the order of
arrival: the upper half is the value, in an encoding that sorts like the float, the lower half falls
with the window's number. A window gives at most one entry to a list, so keys of different entries
differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).min  # below every key
_LOW = 0x7FFF_FFFF


def encode_keys(values: Tensor, windows: Tensor) -> Tensor:
    """Keys that sort by value, then by window number descending. values: float32, windows: int;
    broadcast together.
    """
    bits = (values + 0.0).view(torch.int32)  # + 0.0 turns -0 into 0
    ordered = bits ^ ((bits >> 31) & _LOW)
    return (ordered.to(torch.int64) << 32) + (_LOW - windows.to(torch.int64))


def encode_samples(priorities: Tensor, windows: Tensor) -> Tensor:
    """Keys that sort by priority, then by window number descending; int64. priorities: int64, of 32
    bits with their sign.
    """
    return (priorities << 32) + (_LOW - windows)


def decode_windows(keys: Tensor) -> Tensor:
    return _LOW - (keys & 0xFFFF_FFFF)


@dataclass(frozen=True, eq=False)
class Accepted:
    """Entries that just entered lists: entry i is in slots[i] of lists[i] and was candidate
    columns[i] of it.
    """

    lists: Tensor  # (P,) int64
    slots: Tensor
    columns: Tensor


class TopLists:
    """`count` lists of the `k` largest keys, unordered; entries have slots, so that what hangs on
    them can stay put.

    With `distinct` a list holds at most one entry of a document, its best. That is exact: an entry
    is only displaced by k others of different documents, whose own bests can only grow.
    """

    def __init__(
        self, count: int, k: int, *, distinct: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.distinct = distinct
        self.keys = torch.full((count, k), EMPTY, dtype=torch.int64, device=device)  # (L, K)
        self.documents = torch.full((count, k), -1, dtype=torch.int32, device=device)
        self._floor = torch.full(
            (count,), EMPTY, dtype=torch.int64, device=device
        )  # (L,) a key must exceed it

    def offer(self, keys: Tensor, documents: Tensor) -> Accepted:
        """Offers candidates to every list. keys: (L, C), EMPTY for none; documents: (C,) or (L, C)
        int32.
        """
        touched = (keys.amax(1) > self._floor).nonzero().squeeze(1)  # (T,)
        keys = keys[touched]
        documents = (documents.expand(len(self.keys), -1) if documents.dim() == 1 else documents)[
            touched
        ]
        held, held_documents = self.keys[touched], self.documents[touched]
        if self.distinct:
            keys = _best_of_each_document(keys, documents)
            held, keys = _settle_same_document(held, held_documents, keys, documents)
        k = held.shape[1]
        both = torch.cat([held, keys], 1)  # (T, K + C)
        chosen = torch.zeros_like(both, dtype=torch.bool).scatter_(1, both.topk(k, 1).indices, True)
        # As many candidates are chosen as slots are freed, in every row, so the two lists below
        # pair up.
        row, column = chosen[:, k:].nonzero(as_tuple=True)
        freed_row, slot = (~chosen[:, :k]).nonzero(as_tuple=True)
        held[freed_row, slot] = keys[row, column]
        held_documents[freed_row, slot] = documents[row, column]
        self.keys[touched], self.documents[touched] = held, held_documents
        self._floor[touched] = held.amin(1)
        real = keys[row, column] != EMPTY
        return Accepted(touched[row][real], slot[real], column[real])

    def fill(self, keys: Tensor, documents: Tensor) -> None:
        """Puts these in place of all entries. keys, documents: (L, K)."""
        self.keys.copy_(keys)
        self.documents.copy_(documents)
        self._floor.copy_(self.keys.amin(1))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, documents and floors: changing them changes the lists."""
        return self.keys, self.documents, self._floor

    def ranking(self) -> Tensor:
        """(L, K) slots, best first; EMPTY ones last."""
        return self.keys.argsort(dim=1, descending=True, stable=True)


def _best_of_each_document(keys: Tensor, documents: Tensor) -> Tensor:
    """The keys with all but the largest of each document made EMPTY. (T, C) both."""
    if keys.shape[1] < 2:
        return keys
    order = documents.argsort(dim=1, stable=True)
    groups = torch.zeros_like(order)
    ordered = documents.gather(1, order)
    groups.scatter_(
        1, order, torch.nn.functional.pad((ordered[:, 1:] != ordered[:, :-1]).cumsum(1), (1, 0))
    )
    best = torch.full_like(keys, EMPTY).scatter_reduce_(1, groups, keys, "amax")
    return torch.where(keys == best.gather(1, groups), keys, EMPTY)


def _settle_same_document(
    held: Tensor, held_documents: Tensor, keys: Tensor, documents: Tensor
) -> tuple[Tensor, Tensor]:
    """Where a candidate and a held entry are of one document, the lesser is made EMPTY."""
    same = (held_documents[:, :, None] == documents[:, None, :]) & (held != EMPTY)[
        :, :, None
    ]  # (T, K, C)
    better = keys[:, None, :] > held[:, :, None]
    return (
        held.masked_fill((same & better).any(2), EMPTY),
        keys.masked_fill((same & ~better).any(1), EMPTY),
    )
