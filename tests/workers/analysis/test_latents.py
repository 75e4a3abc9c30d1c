"""Whole analyses of latents: of dictionaries trained on a tiny model, and of made-up ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from polyseme.contract.errors import DictionaryLoadError
from polyseme.contract.files.results import ghosts_file, report_file
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons, Senses, Tokens
from polyseme.workers.analysis.dictionaries.dictionary import (
    Decoder,
    Dictionary,
    Encoder,
    Notes,
    Place,
)
from polyseme.workers.analysis.dictionaries.gates import JumpRelu, Relu, TopK
from polyseme.workers.analysis.dictionaries.hook_names import make_place
from polyseme.workers.analysis.machine.limits import Limits
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.scan.kernels import cpu
from polyseme.workers.analysis.scan.statistics.sparsity import FEWEST
from polyseme.workers.analysis.sites.latents import fit_to_model, make_site, read_latents
from tests.factories import make_texts
from tests.tiny_models import HIDDEN, LAYERS, load_tiny

LATENTS, WINDOW = 80, 48
TEXTS = make_texts(60, seed=11)
REQUEST = AnalysisRequest(
    "tiny",
    "c",
    contexts=Contexts(top_k=12, sampled=10, shown=6, window=WINDOW),
    tokens=Tokens(exclude_positions=1),
)
CUT = Limits(256, 1024)  # several blocks and shards


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_dictionary(
    layer: int = 1,
    *,
    site: str = "resid_post",
    width: int = HIDDEN,
    gate: str = "topk",
    seed: int = 1,
    **notes: Any,
) -> Dictionary:
    there = make_place(site, layer)
    gates = {"topk": TopK(4), "standard": Relu(), "jumprelu": JumpRelu(torch.full((LATENTS,), 2.0))}
    encoder = Encoder(noise(LATENTS, width, seed=seed), None, gates[gate])
    decoder = Decoder(noise(LATENTS, width, seed=seed + 1), None)
    return Dictionary(there, there, encoder, decoder, Notes(**notes), sha256=f"{seed:064d}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_tiny("gpt2", tmp_path_factory.mktemp("model"))


def analyse(
    model: LoadedModel,
    folder: Path,
    dictionaries: Mapping[str, Dictionary],
    request: AnalysisRequest = REQUEST,
    *,
    texts: list[str] = TEXTS,
    limits: Limits = CUT,
) -> Path:
    latents = read_latents(model.parts, dictionaries, model.device)
    neurons = replace(request.neurons, site="dictionary", layers=tuple(latents))
    request = replace(request, neurons=neurons)
    site = make_site(latents)
    run_analysis(model, request, texts, folder, limits=limits, own_site=site, latents=latents)
    return folder


def reports(folder: Path, layer: int = 1) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / report_file(layer)).to_pylist()
    return rows


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("gate", ["topk", "standard", "jumprelu"])
def test_a_latent_has_what_its_dictionary_makes_of_the_models_activations(
    gate: str, model: LoadedModel, tmp_path: Path
) -> None:
    dictionary = make_dictionary(gate=gate)
    texts = TEXTS[:20]
    request = replace(REQUEST, contexts=replace(REQUEST.contexts, top_k=20, per_document=None))
    analyse(model, tmp_path, {"d": dictionary}, request, texts=texts)
    found: list[np.ndarray] = []

    def keep(module: Any, given: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        found.append(dictionary.encode(hidden[0, 1:]).numpy())

    handle = model.parts.blocks[1].register_forward_hook(keep)
    with torch.inference_mode():
        for text in texts:
            ids = tokenize(model.tokenizer, [text])[0][0].tolist()
            for start in range(0, len(ids), WINDOW):
                model.parts.body(input_ids=torch.tensor([ids[start : start + WINDOW]]))
    handle.remove()
    every = np.concatenate(found)
    rows = reports(tmp_path)

    assert [row["neuron"] for row in rows] == list(range(LATENTS))
    assert {row["n_tokens"] for row in rows} == {len(every)}
    np.testing.assert_allclose([row["density"] for row in rows], (every > 0).mean(0), atol=2e-3)
    np.testing.assert_allclose([row["max"] for row in rows], every.max(0), rtol=1e-5, atol=1e-5)
    assert all(c["activation"] > 0 for row in rows for c in (*row["contexts"], *row["evidence"]))
    l0 = read(tmp_path, "summary.json")["layers"][0]["dictionary"]["l0"]
    assert l0 == pytest.approx((every > 0).sum(1).mean(), rel=1e-3)


def test_the_sparse_scan_gives_the_bytes_of_the_dense_one(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = analyse(model, tmp_path / "sparse", {"d": make_dictionary()})
    monkeypatch.setattr(cpu, "reduce_sparse", cpu.reduce)
    dense = analyse(model, tmp_path / "dense", {"d": make_dictionary()})

    assert files(sparse) == files(dense)


def test_shards_do_not_show(model: LoadedModel, tmp_path: Path) -> None:
    limits = Limits(256, 10**6)
    one = analyse(model, tmp_path / "one", {"d": make_dictionary()}, limits=limits)

    assert files(one) == files(analyse(model, tmp_path / "more", {"d": make_dictionary()}))


def test_an_encoder_that_changes_nothing_has_the_sites_own_contexts(
    model: LoadedModel, tmp_path: Path
) -> None:
    there = make_place("resid_post", 1)
    mirror = Dictionary(there, None, Encoder(torch.eye(HIDDEN), None, Relu()), None, Notes())
    off = replace(
        REQUEST,
        senses=Senses(enabled=False),
        contexts=Contexts(8, 0, window=WINDOW, tails="positive"),
    )
    own = replace(off, neurons=Neurons("resid_post", (1,)))
    analyse(model, tmp_path / "mirror", {"mirror": mirror}, off)
    run_analysis(model, own, TEXTS, tmp_path / "own", limits=CUT)

    for latent, unit in zip(reports(tmp_path / "mirror"), reports(tmp_path / "own"), strict=True):
        assert latent["contexts"] == [c for c in unit["contexts"] if c["activation"] > 0] or any(
            a < 0 for c in unit["contexts"] for a in c["activations"]
        )
        assert [(c["document"], c["position"], c["activation"]) for c in latent["contexts"]] == [
            (c["document"], c["position"], c["activation"])
            for c in unit["contexts"]
            if c["activation"] > 0
        ]
        assert latent["density"] == unit["density"]


def test_control_units_are_as_seldom_active_as_latents(model: LoadedModel, tmp_path: Path) -> None:
    folder = analyse(model, tmp_path, {"d": make_dictionary()})
    latents, controls = (
        pq.read_table(folder / name) for name in ("neurons.parquet", "ghosts.parquet")
    )
    density, of_controls = (t.column("density").to_numpy() for t in (latents, controls))

    assert len(of_controls) >= 64
    # Cut off on a part of the text, they are about as seldom active in all of it as those that are
    # known there: by ten tokens of 16 windows.
    known = density * 16 * WINDOW >= FEWEST
    np.testing.assert_allclose(
        np.quantile(of_controls, [0.25, 0.5, 0.75]),
        np.quantile(density[known], [0.25, 0.5, 0.75]),
        rtol=0.5,
    )
    assert controls.column("min").to_numpy().min() == 0
    assert read(folder, "manifest.json")["controls"]["recipe"].startswith("random directions, each")
    assert (folder / ghosts_file(1)).exists()


def test_the_logit_lens_is_that_of_the_decoders_rows(model: LoadedModel, tmp_path: Path) -> None:
    dictionary = make_dictionary()
    folder = analyse(model, tmp_path, {"d": dictionary})
    assert dictionary.decoder is not None
    assert model.parts.unembedding is not None
    assert model.parts.norm is not None
    rows = dictionary.decoder.weight
    logits = ((rows - rows.mean(1, keepdim=True)) * model.parts.norm.weight) @ (
        model.parts.unembedding.T
    )
    expected = logits.argmax(1).tolist()

    assert [row["promoted"][0]["token"] for row in reports(folder)] == expected


def test_a_dictionarys_result_says_which_it_is_and_how_it_fits(
    model: LoadedModel, tmp_path: Path
) -> None:
    folder = analyse(model, tmp_path, {"d": make_dictionary(expected_l0=50.0)})
    manifest, summary = read(folder, "manifest.json"), read(folder, "summary.json")
    (described,) = manifest["dictionaries"]
    told = summary["layers"][0]["dictionary"]

    assert described["id"] == "d"
    assert described["sha256"] == f"{1:064d}"
    assert manifest["site"]["site"] == "dictionary"
    assert manifest["request"]["neurons"]["site"] == "dictionary"
    # It was never trained: it explains nothing, and says so.
    assert told["fraction_of_variance_unexplained"] > 1
    assert {m["code"] for m in told["misfits"]} >= {"unexplained", "l0"}
    assert "does not seem to fit blocks.1.hook_resid_post" in summary["warnings"][0]
    assert told["l0"] == pytest.approx(4, abs=0.2)
    norms = torch.linalg.norm(make_dictionary().decoder.weight, dim=1)  # type: ignore[union-attr]
    np.testing.assert_allclose([r["decoder_norm"] for r in reports(folder)], norms, rtol=1e-6)


def test_dictionaries_of_several_layers_are_one_job(model: LoadedModel, tmp_path: Path) -> None:
    both = {"up": make_dictionary(2, seed=5), "down": make_dictionary(0, seed=7)}
    folder = analyse(model, tmp_path / "both", both)
    alone = analyse(model, tmp_path / "alone", {"up": both["up"]})

    assert [d["id"] for d in read(folder, "manifest.json")["dictionaries"]] == ["down", "up"]
    for name in (report_file(2), ghosts_file(2)):
        assert (folder / name).read_bytes() == (alone / name).read_bytes()


def test_some_latents_have_what_they_have_among_all(model: LoadedModel, tmp_path: Path) -> None:
    some = replace(REQUEST, neurons=Neurons(indices=(3, 40, 79)))
    folder = analyse(model, tmp_path / "some", {"d": make_dictionary()}, some)
    every = reports(analyse(model, tmp_path / "all", {"d": make_dictionary()}))

    for row in reports(folder):
        assert row["contexts"] == every[row["neuron"]]["contexts"]
    assert read(folder, "summary.json")["layers"][0]["dictionary"]["l0"] is None


@pytest.mark.parametrize(
    ("dictionaries", "sentence"),
    [
        ({"a": make_dictionary(9)}, "dictionary a: layer 9: the model has 0 to 2"),
        ({"a": make_dictionary(width=7)}, "it reads 7 numbers a token, resid_post has 32"),
        (
            {"a": make_dictionary(seed=1), "b": make_dictionary(seed=2)},
            "a and b are of one layer, 1",
        ),
        (
            {"a": make_dictionary(0), "b": make_dictionary(1, site="mlp_out")},
            "these read mlp_out, resid_post and have 80",
        ),
        (
            {"a": make_dictionary(from_pretrained_kwargs={"fold_everything": True})},
            "loaded with fold_everything=True, which changes activations of resid_post",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused_with_the_reason(
    dictionaries: Mapping[str, Dictionary], sentence: str, model: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(DictionaryLoadError, match=sentence):
        analyse(model, tmp_path, dictionaries)


def test_centred_weights_are_a_mean_taken_off_the_residual_stream(model: LoadedModel) -> None:
    plain = make_dictionary()
    centred = make_dictionary(from_pretrained_kwargs={"center_writing_weights": True})
    hidden = noise(2, 5, HIDDEN, seed=3) + 4

    latents = fit_to_model("d", centred, model.parts).encode(hidden)

    expected = plain.encode((hidden - hidden.mean(-1, keepdim=True)).flatten(0, 1))
    torch.testing.assert_close(latents.flatten(0, 1), expected)


def test_a_mean_taken_off_is_what_centred_weights_make(model: LoadedModel) -> None:
    centred = deepcopy(model.parts.body)
    writing = [centred.wte, centred.wpe]
    for block in centred.h:
        writing += [block.attn.c_proj, block.mlp.c_proj]
    with torch.no_grad():
        for module in writing:
            module.weight -= module.weight.mean(1, keepdim=True)
            if (bias := getattr(module, "bias", None)) is not None:
                bias -= bias.mean()
    ids = torch.arange(5, 45)[None]
    own, other = (stream_behind(body, 1, ids) for body in (model.parts.body, centred))

    torch.testing.assert_close(own - own.mean(-1, keepdim=True), other, rtol=1e-5, atol=1e-5)


def stream_behind(body: Any, layer: int, ids: Tensor) -> Tensor:
    found: list[Tensor] = []
    handle = body.h[layer].register_forward_hook(
        lambda module, given, output: found.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    with torch.inference_mode():
        body(input_ids=ids)
    handle.remove()
    return found[0]


def test_centred_weights_change_nothing_of_a_model_without_a_layer_norm(
    tmp_path: Path,
) -> None:
    llama = load_tiny("llama", tmp_path)
    centred = make_dictionary(from_pretrained_kwargs={"center_writing_weights": True})

    assert fit_to_model("d", centred, llama.parts).centred == frozenset()


def test_centred_weights_are_refused_where_norms_stand_behind(tmp_path: Path) -> None:
    bert = load_tiny("bert", tmp_path)
    centred = make_dictionary(from_pretrained_kwargs={"center_writing_weights": True})

    with pytest.raises(DictionaryLoadError, match="no mean taken off where norms stand behind"):
        fit_to_model("d", centred, bert.parts)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_one_that_reads_before_a_norms_weight_reads_the_norms_own_output(
    name: str, tmp_path: Path
) -> None:
    tiny = load_tiny(name, tmp_path)
    middle = tiny.parts.middles[1]
    torch.nn.init.uniform_(middle.weight, 0.5, 2)  # type: ignore[arg-type]
    before = Place("mlp_in", 1, "blocks.1.ln2.hook_normalized", before_weight=True)
    dictionary = replace(make_dictionary(), source=before, target=None, decoder=None)
    hidden = noise(1, 6, HIDDEN, seed=4)
    normed = hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + 1e-6)
    (latents,) = read_latents(tiny.parts, {"d": dictionary}, torch.device("cpu")).values()

    with torch.inference_mode():
        found = latents.encode(middle(hidden))

    torch.testing.assert_close(
        found.flatten(0, 1), dictionary.encode(normed.flatten(0, 1)), rtol=1e-4, atol=1e-4
    )


def test_every_layer_but_none_is_left_out(model: LoadedModel) -> None:
    latents = read_latents(
        model.parts,
        {str(n): make_dictionary(n) for n in reversed(range(LAYERS))},
        torch.device("cpu"),
    )

    assert list(latents) == list(range(LAYERS))
