"""What the fit says of dictionaries that are read right, and of the same ones misread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from polyseme.contract.errors import NonFiniteActivation
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.dictionaries.fit import (
    Fit,
    FitStatistic,
    find_misfits,
    measure_fit,
)
from polyseme.workers.analysis.dictionaries.gates import Relu
from polyseme.workers.analysis.dictionaries.input_norms import LayerNorm, NoNorm
from polyseme.workers.analysis.dictionaries.neighbours import (
    Reading,
    other_readings,
    own_reading,
)
from tests.tiny_models import LAYERS, load_tiny
from tests.workers.analysis.dictionaries.planted import (
    Activations,
    as_jump,
    collect,
    place,
    random_tokens,
    train,
)

WIDE, SQUARE = 96, 32


@dataclass(frozen=True)
class Planted:
    found: Activations
    right: dict[str, Dictionary]

    def misfits(self, dictionary: Dictionary) -> set[str]:
        """Codes of what speaks against it."""
        others = {r.name: self._fit(r) for r in other_readings(dictionary, LAYERS)}
        elsewhere = {name: fit for name, fit in others.items() if fit is not None}
        here = self._fit(own_reading(dictionary))
        assert here is not None
        notes = dictionary.notes
        misfits = find_misfits(here, elsewhere, notes.expected_l0, notes.most_active)
        return {misfit.code for misfit in misfits}

    def _fit(self, reading: Reading) -> Fit | None:
        """None where the place was not collected."""
        places = [(p.site, p.layer) for p in (reading.source, reading.target)]
        if not all(p in self.found for p in places):
            return None
        source, target = (self.found[p] for p in places)
        return measure_fit(reading.dictionary, source, target)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    found = collect(load_tiny("gpt2", tmp_path_factory.mktemp("gpt2")), random_tokens())
    residual = place("resid_post", 1)
    topk = train(residual, residual, found, WIDE)
    return Planted(
        found,
        {
            "topk": topk,
            "jumprelu": as_jump(topk, found["resid_post", 1]),
            "normed": train(residual, residual, found, WIDE, norm=LayerNorm()),
            "square": train(residual, residual, found, SQUARE),
            "transcoder": train(place("mlp_in", 1), place("mlp_out", 1), found, WIDE),
        },
    )


@pytest.mark.parametrize("name", ["topk", "jumprelu", "normed", "square", "transcoder"])
def test_a_dictionary_that_is_read_right_has_nothing_against_it(
    name: str, planted: Planted
) -> None:
    assert planted.misfits(planted.right[name]) == set()


def without_centre(d: Dictionary) -> Dictionary:
    return replace(d, encoder=replace(d.encoder, centre=None))


def with_relu(d: Dictionary) -> Dictionary:
    return replace(d, encoder=replace(d.encoder, gate=Relu()))


def without_norm(d: Dictionary) -> Dictionary:
    assert d.decoder is not None
    encoder, decoder = replace(d.encoder, norm=NoNorm()), replace(d.decoder, norm=NoNorm())
    return replace(d, encoder=encoder, decoder=decoder)


def a_layer_up(d: Dictionary) -> Dictionary:
    up = place("resid_post", 2)
    return replace(d, source=up, target=up)


def at_the_output(d: Dictionary) -> Dictionary:
    return replace(d, source=d.target)


def transposed(d: Dictionary) -> Dictionary:
    return replace(d, encoder=replace(d.encoder, weight=d.encoder.weight.T.contiguous()))


MISREAD: dict[str, tuple[str, Callable[[Dictionary], Dictionary], str]] = {
    "b_dec not taken off": ("topk", without_centre, "elsewhere"),
    "relu for top-k": ("topk", with_relu, "l0"),
    "threshold dropped": ("jumprelu", with_relu, "l0"),
    "norm missing": ("normed", without_norm, "unexplained"),
    "layer + 1": ("topk", a_layer_up, "elsewhere"),
    "output for input": ("transcoder", at_the_output, "unexplained"),
    "W_enc transposed": ("square", transposed, "unexplained"),
}


@pytest.mark.parametrize("mutation", MISREAD)
def test_a_dictionary_that_is_misread_is_caught(mutation: str, planted: Planted) -> None:
    name, misread, code = MISREAD[mutation]

    assert code in planted.misfits(misread(planted.right[name]))


def test_the_figures_are_those_of_plain_float64(planted: Planted) -> None:
    x, dictionary = planted.found["resid_post", 1], planted.right["topk"]

    found = measure_fit(dictionary, x)

    latents = dictionary.encode(x)
    error = (x.double() - dictionary.decode(latents, x).double()).square().sum()
    variance = (x.double() - x.double().mean(0)).square().sum()
    assert found.unexplained == pytest.approx(float(error / variance), rel=1e-9)
    assert found.l0 == float((latents > 0).sum(1).double().mean())
    assert found.tokens == len(x)


def test_any_split_gives_the_figures_of_the_whole(planted: Planted) -> None:
    x, dictionary = planted.found["resid_post", 1], planted.right["normed"]
    first, second = FitStatistic(dictionary), FitStatistic(dictionary)
    first.update(x[:100])
    second.update(x[100:101])
    second.update(x[101:])

    first.merge(second)

    whole, found = measure_fit(dictionary, x), first.compute()
    assert (found.tokens, found.l0) == (whole.tokens, whole.l0)
    assert found.unexplained == pytest.approx(whole.unexplained, rel=1e-6)


def test_an_encoder_alone_says_how_many_latents_are_active(planted: Planted) -> None:
    alone = replace(planted.right["topk"], decoder=None, target=None)

    found = measure_fit(alone, planted.found["resid_post", 1])

    assert (found.unexplained, round(found.l0)) == (None, 6)
    assert planted.misfits(alone) == set()
    assert planted.misfits(with_relu(alone)) == {"l0"}


def test_a_target_that_does_not_vary_has_no_part_unexplained(planted: Planted) -> None:
    x = planted.found["resid_post", 1]
    still = x[:1].expand(50, -1)

    assert measure_fit(planted.right["topk"], x[:50], still).unexplained is None
    assert FitStatistic(planted.right["topk"]).compute() == Fit(0, 0.0, None)


def test_what_is_not_finite_is_no_figure(planted: Planted) -> None:
    x = planted.found["resid_post", 1].clone()
    x[3, 5] = torch.nan

    with pytest.raises(NonFiniteActivation, match="are not finite"):
        measure_fit(planted.right["topk"], x)


def test_a_misfit_says_what_was_found_and_what_is_allowed() -> None:
    here, better = Fit(100, 30.0, 0.7), Fit(100, 9.0, 0.2)

    found = find_misfits(here, {"blocks.3.hook_resid_post": better}, 10)

    assert [misfit.detail for misfit in found] == [
        "it leaves 0.70 of the variance unexplained, more than 0.6",
        "it fits blocks.3.hook_resid_post better: 0.20 of the variance unexplained there, 0.70 "
        "here",
        "30.0 latents are active at a token, its files promise 10",
    ]


def test_a_top_k_never_has_more_active_than_its_k() -> None:
    more = Fit(100, 6.1, 0.1)

    assert find_misfits(more, {}, 6) == ()
    assert [misfit.detail for misfit in find_misfits(more, {}, 6, 6)] == [
        "6.1 latents are active at a token, where a top-k has at most 6"
    ]


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (0, {"blocks.1.hook_resid_post", "blocks.0.hook_resid_pre"}),
        (
            1,
            {
                "blocks.0.hook_resid_post",
                "blocks.2.hook_resid_post",
                "blocks.1.hook_resid_pre",
            },
        ),
    ],
)
def test_layers_beside_it_and_the_other_side_are_tried(
    layer: int, names: set[str], planted: Planted
) -> None:
    there = place("resid_post", layer)
    dictionary = replace(planted.right["topk"], source=there, target=there)

    found = {reading.name for reading in other_readings(dictionary, LAYERS)}
    assert found == names | {f"{there.hook} with b_dec left on its input"}


def test_of_a_transcoder_both_ends_move(planted: Planted) -> None:
    names = {r.name for r in other_readings(planted.right["transcoder"], LAYERS)}

    assert names == {
        "blocks.0.mlp.hook_in to blocks.0.hook_mlp_out",
        "blocks.2.mlp.hook_in to blocks.2.hook_mlp_out",
        "blocks.1.hook_mlp_out",
        "blocks.1.hook_mlp_out to blocks.1.mlp.hook_in",
    }
