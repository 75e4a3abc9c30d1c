"""Which format a folder is of, cards, and files that are not what they seem."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from polyseme.contract.errors import DictionaryLoadError
from polyseme.contract.records import catalogue
from polyseme.contract.records.catalogue import DictionaryEntry
from polyseme.workers.analysis.dictionaries import formats
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.dictionaries.formats import (
    FORMATS,
    LAYER_FORMATS,
    describe_dictionary,
    read_path,
)
from tests.workers.analysis.dictionaries.builders import (
    HOOK,
    D,
    M,
    saelens_tensors,
    sparsify_tensors,
    write,
    write_clt,
    write_saelens,
    write_sparsify,
)


def test_the_catalogue_knows_the_formats_of_the_table() -> None:
    names = {form.name for form in (*FORMATS, *LAYER_FORMATS)}

    assert {"auto", *names} == set(catalogue.FORMATS)


def test_a_card_says_what_a_dictionary_is(tmp_path: Path) -> None:
    loaded = {"fold_ln": True}
    said = {"neuronpedia_id": "m/1-res", "prepend_bos": False, "context_size": 256}
    said |= {"model_from_pretrained_kwargs": loaded}
    folder = write_saelens(
        tmp_path / "a", saelens_tensors(), metadata=said, architecture="topk", k=3
    )

    entry = DictionaryEntry("mine", "m", "path", str(folder))
    card = describe_dictionary(entry)

    assert (card.id, card.model, card.hook, card.site, card.layer) == (
        "mine",
        "m",
        HOOK,
        "resid_post",
        1,
    )
    assert (card.architecture, card.latents, card.width) == ("topk", M, D)
    assert (card.format, card.neuronpedia, card.expected_l0) == ("saelens", "m/1-res", 3)
    assert (card.prepend_bos, card.context_size, card.loaded_with) == (False, 256, loaded)
    assert (card.source, card.fingerprint) == ("path:a", entry.fingerprint)
    assert card.error is None


def test_the_fingerprint_is_over_names_and_contents(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "a", saelens_tensors())
    names = ("cfg.json", "sae_weights.safetensors")
    lines = [f"{n} {hashlib.sha256((folder / n).read_bytes()).hexdigest()}\n" for n in names]

    first = read_path(folder).sha256
    with (folder / "cfg.json").open("a") as file:
        file.write(" ")

    assert first == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert read_path(folder).sha256 != first


def test_a_dictionary_that_cannot_be_read_has_the_reason_on_its_card(tmp_path: Path) -> None:
    card = describe_dictionary(DictionaryEntry("mine", "m", "path", str(tmp_path / "none")))

    assert card.error == f"mine: there is no folder {tmp_path / 'none'}"
    assert (card.id, card.model, card.latents) == ("mine", "m", 0)
    assert card.source == "path:none"


def test_a_dictionary_that_memory_does_not_hold_has_that_on_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, name: str) -> Dictionary:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(formats, "read_path", fail)

    card = describe_dictionary(DictionaryEntry("mine", "m", "path", str(tmp_path)))

    assert card.error == "mine: it cannot be read: can't allocate memory"


def test_a_folder_of_two_formats_needs_a_word(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "h.1", saelens_tensors())
    write_sparsify(folder)

    with pytest.raises(DictionaryLoadError, match="has files of saelens-5 and sparsify"):
        read_path(folder)
    assert read_path(folder, "sparsify").format == "sparsify"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.safetensors", r"has model\.safetensors; known are cfg\.json with metadata and"),
        ("ae.pt", r"has ae\.pt, a pickle, which is never read here: convert it with"),
        ("hyperparams.json", "of Llama Scope, which is not read: its files do not say"),
        ("W_enc_3.safetensors", r"name one layer's file, such as W_enc_3\.safetensors"),
    ],
)
def test_a_folder_of_no_format_is_told_what_is_known(
    name: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"{}")

    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(tmp_path)


def test_a_format_that_was_asked_for_and_is_not_there_is_named(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "a", saelens_tensors())

    with pytest.raises(DictionaryLoadError, match=r"has cfg\.json, .*; known are params\.npz$"):
        read_path(folder, "gemma-scope-1")


def test_a_file_is_one_layer_of_a_cross_layer_transcoder_or_nothing(tmp_path: Path) -> None:
    file = write_clt(tmp_path / "clt")
    pickle = tmp_path / "ae.pt"
    pickle.write_bytes(b"")

    assert read_path(file, "clt").format == "clt"
    with pytest.raises(DictionaryLoadError, match=r"is no layer's file .*converted with"):
        read_path(pickle)
    with pytest.raises(DictionaryLoadError, match="is no layer's file"):
        read_path(file, "gemma-scope-2")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "a", saelens_tensors())
    (folder / "sae_weights.safetensors").rename(tmp_path / "elsewhere")
    (folder / "sae_weights.safetensors").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DictionaryLoadError, match="is a link to a file outside of"):
        read_path(folder)


def test_the_hubs_cache_is_a_folder_of_links(tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    folder = write_saelens(cache / "snapshots/0a/layer_1", saelens_tensors())
    (cache / "blobs").mkdir()
    (folder / "sae_weights.safetensors").rename(cache / "blobs/1f")
    (folder / "sae_weights.safetensors").symlink_to(cache / "blobs/1f")

    assert read_path(folder).latents == M


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", r"cfg\.json is no JSON"),
        (b"[]", r"cfg\.json: expected an object with names"),
        (b'{"a": "\xff"}', r"cfg\.json is no UTF-8"),
        (b"[" * 5000, r"cfg\.json is no JSON"),
        (b" " * (1 << 20) + b"{}", r"cfg\.json has more than 1,048,576 bytes"),
    ],
)
def test_settings_that_are_none_are_named(content: bytes, sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "h.1", "cfg.json", {}, "sae.safetensors", sparsify_tensors())
    (folder / "cfg.json").write_bytes(content)

    with pytest.raises(DictionaryLoadError, match=sentence):
        read_path(folder)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    folder = write_sparsify(tmp_path / "h.1")
    (folder / "sae.safetensors").write_bytes(b"\xff" * 100)

    with pytest.raises(DictionaryLoadError, match=r"cannot read sae\.safetensors"):
        read_path(folder)
