"""Cards of dictionaries."""

from __future__ import annotations

from polyseme.contract.records.dictionary_card import DictionaryCard

CARD = DictionaryCard(
    id="res-9-16k",
    model="gemma-2-2b",
    hook="blocks.9.hook_resid_post",
    site="resid_post",
    layer=9,
    architecture="jumprelu",
    latents=16384,
    width=2304,
    format="gemma-scope-1",
    sha256="0a" * 32,
    neuronpedia="gemma-2-2b/9-gemmascope-res-16k",
    expected_l0=73.0,
    prepend_bos=True,
    context_size=1024,
    loaded_with={"center_writing_weights": True},
    source="hub:google/gemma-scope-2b-pt-res/layer_9@fd571b47",
    fingerprint="0b" * 32,
    queue="big",
)


def test_a_card_comes_back_from_json() -> None:
    failed = DictionaryCard("a", "m", error="a: there is no folder")

    assert DictionaryCard.from_json(CARD.to_json()) == CARD
    assert DictionaryCard.from_json(failed.to_json().encode()) == failed
