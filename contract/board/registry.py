"""What is registered on the board: corpora, sets of directions, model cards, its store, the
secret of the API's processes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import redis

from polyseme.contract.board.keys import Keys
from polyseme.contract.board.reading import leave_out_damaged, reading_record
from polyseme.contract.names import DEFAULT_QUEUE, DEFAULT_TENANT
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.job import Corpus
from polyseme.contract.records.model_card import ModelCard
from polyseme.contract.records.planned import Planned
from polyseme.contract.records.vector_set import VectorSet

T = TypeVar("T")


class Registry:
    """Thread-safe, as the redis client is; `redis.RedisError` passes through."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def add_corpus(self, corpus: Corpus, tenant: str = DEFAULT_TENANT) -> Corpus:
        """Registers a tenant's corpus, or returns the one that has the id already."""
        if self._redis.set(self._keys.corpus(tenant, corpus.id), corpus.to_json(), nx=True):
            self._redis.zadd(self._keys.corpora(tenant), {corpus.id: corpus.created_at})
            return corpus
        return self.get_corpus(corpus.id, tenant) or corpus

    def get_corpus(self, corpus: str, tenant: str = DEFAULT_TENANT) -> Corpus | None:
        text = cast(str | None, self._redis.get(self._keys.corpus(tenant, corpus)))
        return _read_corpus(corpus, text) if text else None

    def list_corpora(self, tenant: str = DEFAULT_TENANT) -> list[Corpus]:
        """Newest first."""
        key_of = partial(self._keys.corpus, tenant)
        return self._list_newest(self._keys.corpora(tenant), key_of, _read_corpus)

    def _list_newest(
        self, ordered: str, key_of: Callable[[str], str], read: Callable[[str, str], T]
    ) -> list[T]:
        """Newest first, without damaged records. ordered: the key of their ids by time."""
        ids = cast(list[str], self._redis.zrange(ordered, 0, -1, desc=True))
        texts = cast(list[str | None], self._redis.mget(map(key_of, ids)) if ids else [])
        there = ((name, text) for name, text in zip(ids, texts, strict=True) if text)
        return list(leave_out_damaged(there, read))

    def has_corpus(self, corpus: str, tenant: str = DEFAULT_TENANT) -> bool:
        return bool(self._redis.exists(self._keys.corpus(tenant, corpus)))

    def delete_corpus(self, corpus: str, tenant: str = DEFAULT_TENANT) -> bool:
        self._redis.zrem(self._keys.corpora(tenant), corpus)
        self._redis.delete(self._keys.planned(tenant, corpus))
        return bool(self._redis.delete(self._keys.corpus(tenant, corpus)))

    def add_vectors(self, vectors: VectorSet, tenant: str = DEFAULT_TENANT) -> VectorSet:
        """Registers a tenant's set of directions, or returns the one that has the id already."""
        if self._redis.set(self._keys.vectors(tenant, vectors.id), vectors.to_json(), nx=True):
            self._redis.zadd(self._keys.vector_sets(tenant), {vectors.id: vectors.created_at})
            return vectors
        return self.get_vectors(vectors.id, tenant) or vectors

    def get_vectors(self, name: str, tenant: str = DEFAULT_TENANT) -> VectorSet | None:
        text = cast(str | None, self._redis.get(self._keys.vectors(tenant, name)))
        return _read_vectors(name, text) if text else None

    def list_vectors(self, tenant: str = DEFAULT_TENANT) -> list[VectorSet]:
        """Newest first."""
        key_of = partial(self._keys.vectors, tenant)
        return self._list_newest(self._keys.vector_sets(tenant), key_of, _read_vectors)

    def has_vectors(self, name: str, tenant: str = DEFAULT_TENANT) -> bool:
        return bool(self._redis.exists(self._keys.vectors(tenant, name)))

    def delete_vectors(self, name: str, tenant: str = DEFAULT_TENANT) -> bool:
        self._redis.zrem(self._keys.vector_sets(tenant), name)
        return bool(self._redis.delete(self._keys.vectors(tenant, name)))

    def note_planned(
        self, corpus: str, tenant: str, reader: str, cut: str, planned: Planned
    ) -> None:
        text = json.dumps([planned.tokens, planned.windows])
        self._redis.hset(self._keys.planned(tenant, corpus), f"{reader}|{cut}", text)

    def list_planned(self, corpus: str, tenant: str, reader: str) -> dict[str, Planned]:
        """By cut, those of this reader."""
        found = cast(dict[str, str], self._redis.hgetall(self._keys.planned(tenant, corpus)))
        return {
            name.removeprefix(f"{reader}|"): Planned(*json.loads(text))
            for name, text in found.items()
            if name.startswith(f"{reader}|")
        }

    def put_card(self, card: ModelCard) -> None:
        self._redis.hset(self._keys.models(), card.id, card.to_json())

    def delete_card(self, model: str) -> None:
        self._redis.hdel(self._keys.models(), model)

    def get_card(self, model: str) -> ModelCard | None:
        text = cast(str | None, self._redis.hget(self._keys.models(), model))
        return _read_card(model, text) if text else None

    def find_queue(self, model: str) -> str:
        """Where the units of the model's jobs wait."""
        card = self.get_card(model)
        return card.queue if card else DEFAULT_QUEUE

    def list_cards(self) -> list[ModelCard]:
        """By model."""
        cards = cast(dict[str, str], self._redis.hgetall(self._keys.models()))
        return list(leave_out_damaged(sorted(cards.items()), _read_card))

    def put_dictionary(self, card: DictionaryCard) -> None:
        self._redis.hset(self._keys.dictionaries(), card.id, card.to_json())

    def delete_dictionary(self, dictionary: str) -> None:
        self._redis.hdel(self._keys.dictionaries(), dictionary)

    def get_dictionary(self, dictionary: str) -> DictionaryCard | None:
        text = cast(str | None, self._redis.hget(self._keys.dictionaries(), dictionary))
        return _read_dictionary(dictionary, text) if text else None

    def list_dictionaries(self, model: str | None = None) -> list[DictionaryCard]:
        """By id; of one model, or of all."""
        cards = cast(dict[str, str], self._redis.hgetall(self._keys.dictionaries()))
        found = leave_out_damaged(sorted(cards.items()), _read_dictionary)
        return [card for card in found if model in (None, card.model)]

    def get_secret(self) -> str:
        """One secret for all API processes of this board, made by the first that asks: it signs
        cursors.
        """
        self._redis.set(self._keys.secret(), secrets.token_hex(32), nx=True)
        return cast(str, self._redis.get(self._keys.secret()))

    def claim_store(self) -> str:
        """The id of this board's store, made by the first that asks."""
        self._redis.hsetnx(self._keys.store(), "id", secrets.token_hex(16))
        return cast(str, self._redis.hget(self._keys.store(), "id"))

    def note_store_made(self) -> None:
        """Says that the store has been seen with its id in it."""
        self._redis.hset(self._keys.store(), "made", 1)

    def is_store_made(self) -> bool:
        return bool(self._redis.hexists(self._keys.store(), "made"))

    def counts_files(self) -> bool:
        """Whether any tenant is known to have something in the store."""
        sums = cast(list[str], self._redis.hvals(self._keys.stored_bytes()))
        return any(int(size) > 0 for size in sums)


def _read_corpus(corpus: str, text: str) -> Corpus:
    with reading_record(f"the corpus {corpus!r}"):
        return Corpus.from_json(text)


def _read_vectors(name: str, text: str) -> VectorSet:
    with reading_record(f"the vectors {name!r}"):
        return VectorSet.from_json(text)


def _read_card(model: str, text: str) -> ModelCard:
    with reading_record(f"the model {model!r}"):
        return ModelCard.from_json(text)


def _read_dictionary(dictionary: str, text: str) -> DictionaryCard:
    with reading_record(f"the dictionary {dictionary!r}"):
        return DictionaryCard.from_json(text)
