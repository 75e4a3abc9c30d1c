"""How polysemantic a dictionary's latents are beside the neurons of the same layer: a top-k
dictionary is trained on one half of the Brown corpus, and both are analysed on passages of the
other half, and on other texts, with their control units.

Trained as Gao et al. 2024 (arXiv 2406.04093) do: decoder rows of length 1, an encoder that begins
as the decoder's transpose, Adam; without their auxiliary loss.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.markdown import table
from benchmarks.senses.brown import Document, read_documents
from benchmarks.senses.controls import draw_texts, row
from benchmarks.senses.passages import split_documents
from benchmarks.senses.scans import Scores
from benchmarks.status_bars import draw_statuses
from polyseme.contract.files.column import STATUSES
from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Neurons, Tokens
from polyseme.workers.analysis.dictionaries.formats import read_path
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.models.tokens import tokenize
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.sites.latents import make_site, read_latents
from polyseme.workers.analysis.sites.table import SITES

WINDOW, BATCH = 128, 2048  # tokens of a text at once, and of a step
RATE, WARM_UP = 1e-3, 50
_TEXTS = {
    "Brown": "Passages of the other half of the Brown corpus",
    "other": "Facts, the Bible and Python's reference",
}
_QUICK = {"train_tokens": 4_000, "tokens": 2_000, "latents": 256, "layer": 1}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--brown", type=Path, required=True, help="the corpus' folder")
    parser.add_argument("--model", type=Path, required=True, help="a folder with safetensors")
    parser.add_argument("--layer", type=int, default=10, help="resid_post of it")
    parser.add_argument("--latents", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32, help="latents active at a token")
    parser.add_argument("--train-tokens", type=int, default=300_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64_000, help="that are analysed, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few tokens and latents")


def run(options: argparse.Namespace) -> str:
    if options.quick:
        vars(options).update(_QUICK)
    torch.set_num_threads(options.threads)
    entry = Entry("model", "path", str(options.model.resolve()))
    model = load_model(entry, device="cpu", dtype="float32", cache=options.out / "cache")
    known, held_out = split_documents(list(read_documents(options.brown)), options.seed)
    folder = options.out / f"dictionary-{options.layer}-{options.latents}"
    if not folder.exists():
        _save(_train(model, known, options), folder, options)
    told = []
    for kind, documents in (("Brown", held_out), ("other", None)):
        texts = draw_texts(documents, options.tokens, options.seed)
        results = {name: options.out / f"{name}-{kind}" for name in ("neurons", "latents")}
        _analyse(model, texts, options.layer, results["neurons"], None)
        _analyse(model, texts, options.layer, results["latents"], folder)
        told.append(_tell(kind, results))
        (options.out / f"{kind}.svg").write_text(draw_statuses(dict(_shares(results))))
    return (
        f"## A dictionary beside its layer's neurons\n\nLayer {options.layer}, `resid_post`, "
        f"{options.latents:,} latents, top {options.k}, trained on {options.train_tokens:,} tokens "
        f"{options.epochs} times.\n\n" + "\n\n".join(told)
    )


def _train(
    model: LoadedModel, documents: Sequence[Document], options: argparse.Namespace
) -> dict[str, Tensor]:
    x = _collect(model, documents, options.layer, options.train_tokens)
    torch.manual_seed(options.seed)
    # To about 1 a number, for the rate to suit; undone when it is saved.
    mean = x.mean(0)
    scale = (x - mean).square().mean().sqrt()
    decoding = torch.nn.functional.normalize(torch.randn(options.latents, x.shape[1]), dim=1)
    learned = [
        value.requires_grad_()
        for value in (
            decoding.clone(),
            torch.zeros(options.latents),
            decoding,
            torch.zeros_like(mean),
        )
    ]
    encoding, bias, decoding, centre = learned
    optimiser = torch.optim.Adam(learned, lr=RATE)
    steps, began = options.epochs * (len(x) // BATCH), time.monotonic()
    for step, batch in zip(range(steps), _batches(x, options.seed), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * min(1.0, 5 * (1 - step / steps))
        given = (batch - mean) / scale
        pre = (given - centre) @ encoding.T + bias
        kept = pre.topk(options.k, dim=1)
        latents = torch.zeros_like(pre).scatter(1, kept.indices, kept.values.relu())
        loss = (latents @ decoding + centre - given).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            decoding /= decoding.norm(dim=1, keepdim=True)
        if step % 20 == 0:
            _say(f"step {step} of {steps}, loss {loss:.3f}, {time.monotonic() - began:.0f} s")
    with torch.no_grad():
        return {
            "W_enc": (encoding / scale).T.contiguous(),
            "b_enc": bias.clone(),
            "W_dec": decoding * scale,
            "b_dec": mean + centre * scale,
        }


def _collect(model: LoadedModel, documents: Sequence[Document], layer: int, tokens: int) -> Tensor:
    """(T, D) activations of whole windows, without the first token of each."""
    points = SITES["resid_post"].points(model.parts, [layer])
    kept: list[Tensor] = []
    began = time.monotonic()
    for block in _windows(model, documents):
        run_block(model, block, None, points, lambda _, x: kept.append(x[:, 1:].flatten(0, 1)))
        count = sum(map(len, kept))
        if len(kept) % 20 == 0:
            _say(f"{count:,} of {tokens:,} tokens, {time.monotonic() - began:.0f} s")
        if count >= tokens:
            break
    return torch.cat(kept)[:tokens].clone()


def _windows(model: LoadedModel, documents: Sequence[Document]) -> Iterator[Tensor]:
    """(8, WINDOW) ids."""
    held: list[list[int]] = []
    for document in documents:
        ids = tokenize(model.tokenizer, [document.text])[0][0].tolist()
        held += [ids[i : i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]
        while len(held) >= 8:
            yield torch.tensor(held[:8])
            held = held[8:]


def _batches(x: Tensor, seed: int) -> Iterator[Tensor]:
    rng = np.random.default_rng(seed)
    while True:
        order = torch.from_numpy(rng.permutation(len(x)))
        yield from (x[part] for part in order.split(BATCH) if len(part) == BATCH)


def _save(tensors: dict[str, Tensor], folder: Path, options: argparse.Namespace) -> None:
    """In SAELens' layout."""
    folder.mkdir(parents=True)
    save_file(tensors, str(folder / "sae_weights.safetensors"))
    settings = {
        "architecture": "topk",
        "k": options.k,
        "d_in": tensors["W_enc"].shape[0],
        "d_sae": options.latents,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {
            "model_name": options.model.name,
            "hook_name": f"blocks.{options.layer}.hook_resid_post",
            "context_size": WINDOW,
            "prepend_bos": False,
            "sae_lens_version": "6.54.12",
        },
    }
    (folder / "cfg.json").write_text(json.dumps(settings, indent=1))


def _analyse(
    model: LoadedModel, texts: Sequence[str], layer: int, result: Path, dictionary: Path | None
) -> None:
    if (result / "manifest.json").exists():
        return
    neurons, site, latents = Neurons(layers=(layer,)), None, {}
    if dictionary is not None:
        neurons = Neurons("dictionary", (layer,))
        read = {dictionary.name: read_path(dictionary)}
        latents = read_latents(model.parts, read, model.device)
        site = make_site(latents)
    request = AnalysisRequest(
        "model", "passages", neurons=neurons, tokens=Tokens(exclude_positions=1)
    )
    run_analysis(model, request, texts, result, own_site=site, latents=latents)


def _tell(kind: str, results: dict[str, Path]) -> str:
    rows = []
    for name, folder in results.items():
        for of, controls in ((name, False), (f"control units of {name}", True)):
            rows.append([of, *row(Scores.read(folder, controls=controls))])
    summary = json.loads((results["latents"] / "summary.json").read_text())
    told = summary["layers"][0]["dictionary"]
    statuses = [status.replace("_", " ") for status in STATUSES]
    medians = ["median polysemanticity", "median sense count", "median coverage"]
    return (
        f"{_TEXTS[kind]}, {summary['counted_tokens']:,} tokens: {told['l0']:.1f} latents are "
        f"active at a token, {summary['dead']:,} at none; "
        f"{told['fraction_of_variance_unexplained']:.2f} of the variance is unexplained. Misfits: "
        f"{'; '.join(m['detail'] for m in told['misfits']) or 'none'}.\n\n"
        f"{table(['', 'units', *statuses, *medians], rows)}"
    )


def _shares(results: dict[str, Path]) -> Iterator[tuple[str, dict[str, float]]]:
    """Of each group its name and the share of each status."""
    for name, folder in results.items():
        for of, controls in ((name, False), (f"control units of {name}", True)):
            found = Scores.read(folder, controls=controls).status
            yield of, {status: float((found == status).mean()) for status in STATUSES}


def _say(text: str) -> None:
    print(f"\r{text}   ", end="", file=sys.stderr, flush=True)
