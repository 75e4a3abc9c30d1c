"""Every format beside the project that writes it: the same latents are active, with the same
values.

`python -m pytest -m slow -s` on this file prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.writers import (
    D,
    Written,
    write_clt,
    write_gemma_scope,
    write_gemma_scope_2,
    write_learned,
    write_saelens,
    write_sparsify,
    write_trained,
)

TOKENS = 1000
LARGEST_ERROR = 1e-5  # of a token's largest value

saelens = partial(partial, write_saelens)
trained = partial(partial, write_trained)
learned = partial(partial, write_learned)

CASES: dict[str, Callable[[Path], Written]] = {
    "SAELens standard": saelens("standard"),
    "SAELens standard, b_dec left on": saelens("standard", apply_b_dec_to_input=False),
    "SAELens standard, layer norm": saelens("standard", normalize_activations="layer_norm"),
    "SAELens standard, length sqrt(D)": saelens(
        "standard", normalize_activations="constant_norm_rescale"
    ),
    "SAELens gated": saelens("gated"),
    "SAELens topk": saelens("topk", k=16),
    "SAELens topk, rescaled": saelens("topk", k=16, rescale_acts_by_decoder_norm=True),
    "SAELens topk, layer norm (OpenAI's)": saelens(
        "topk", k=16, normalize_activations="layer_norm"
    ),
    "SAELens jumprelu": saelens("jumprelu"),
    "SAELens topk, trained": trained("topk"),
    "SAELens batchtopk, trained": trained("batchtopk"),
    "SAELens matryoshka, trained": trained("matryoshka_batchtopk", matryoshka_widths=[64, 512]),
    "SAELens transcoder": saelens("transcoder"),
    "SAELens skip transcoder": saelens("skip_transcoder"),
    "SAELens jumprelu transcoder": saelens("jumprelu_transcoder"),
    "SAELens jumprelu skip transcoder": saelens("jumprelu_skip_transcoder"),
    "sparsify topk": write_sparsify,
    "sparsify groupmax": partial(write_sparsify, activation="groupmax"),
    "sparsify skip transcoder": partial(write_sparsify, transcode=True, skip_connection=True),
    "circuit-tracer CLT, relu": partial(write_clt, activation="relu"),
    "circuit-tracer CLT, jumprelu": partial(write_clt, activation="jump_relu"),
    "Gemma Scope 1 transcoder (circuit-tracer)": write_gemma_scope,
    "Gemma Scope 2 skip transcoder (circuit-tracer)": write_gemma_scope_2,
    "dictionary_learning AutoEncoder": learned("AutoEncoder"),
    "dictionary_learning AutoEncoderNew": learned("AutoEncoderNew"),
    "dictionary_learning Gated": learned("GatedAutoEncoder"),
    "dictionary_learning JumpRelu": learned("JumpReluAutoEncoder"),
    "dictionary_learning TopK": learned("AutoEncoderTopK", k=16),
    "dictionary_learning BatchTopK": learned("BatchTopKSAE", k=16),
    "dictionary_learning Matryoshka": learned(
        "MatryoshkaBatchTopKSAE", k=16, group_sizes=[64, 448]
    ),
}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest, as a part of the token's largest value."""
    scale = expected.abs().amax(-1, keepdim=True).clamp(min=1e-30)
    return float(((found - expected).abs() / scale).max())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_latents_are_those_of_the_writer(case: str, tmp_path: Path) -> None:
    try:
        written = CASES[case](tmp_path / "written")
    except ImportError as e:
        pytest.skip(f"{e.name} is not on the path: see writers.py")
    x = torch.randn(TOKENS, D, generator=torch.Generator().manual_seed(9)) * 2

    read = read_path(written.path)
    with torch.inference_mode():
        expected, found = written.encode(x), read.encode(x)
        decoded = None if written.decode is None else read.decode(found, x)
        wanted = None if written.decode is None else written.decode(x)

    differing = int(((found > 0) != (expected > 0)).sum())
    error = relative_error(found, expected)
    out = 0.0 if wanted is None or decoded is None else relative_error(decoded, wanted)
    l0 = float((found > 0).sum(1).float().mean())
    print(f"| {case} | {l0:.1f} | {differing} | {error:.1e} | {out:.1e} |")  # noqa: T201
    assert differing == 0
    assert error <= LARGEST_ERROR
    assert out <= LARGEST_ERROR
