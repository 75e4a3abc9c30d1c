"""Models whose layers torch.compile compiles, beside the same models as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from polyseme.contract.errors import ModelLoadError
from polyseme.workers.analysis.models.capture import Taps, run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from tests.tiny_models import LAYERS, save_model
from tests.workers.analysis.builders import needs_compiler, points_of, tap_inputs

pytestmark = needs_compiler

SHAPES = [(3, 12), (2, 9)]


def load_both(name: str, folder: Path) -> tuple[LoadedModel, LoadedModel]:
    """As it is, and compiled."""
    entry = save_model(name, folder)
    plain, compiled = (
        load_model(entry, device="cpu", dtype="float32", cache=folder, compiled=c)
        for c in (False, True)
    )
    return plain, compiled


def see_all(
    model: LoadedModel, ids: Tensor, layers: list[int], *, inputs: bool = False
) -> dict[str, Tensor]:
    """What a forward pass hands out."""
    found: dict[str, Tensor] = {}

    def take(kind: str, layer: int, values: Tensor) -> None:
        found[f"{kind} {layer}"] = values.clone()

    def take_residual(layer: int, hidden: Tensor) -> None:
        take("residual", layer, hidden)

    taps = Taps(take_residual)
    if inputs:
        taps = tap_inputs(
            model, lambda layer, hidden: take("input", layer, hidden), layers, take_residual
        )
    mask = torch.ones_like(ids) if model.card.kind == "encoder" else None
    points = points_of(model, layers)
    run_block(model, ids, mask, points, lambda layer, values: take("neurons", layer, values), taps)
    return found


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert (found[name] - values).abs().max() < 1e-5 * values.abs().max(), name


# A window alone is compiled once more, so that is left to one of them.
@pytest.mark.parametrize(
    ("name", "shapes"), [("llama", [*SHAPES, (1, 12)]), ("gpt2", SHAPES), ("bert", SHAPES)]
)
def test_a_compiled_model_hands_out_what_it_would_as_it_is(
    name: str, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    plain, compiled = load_both(name, tmp_path)

    for shape in shapes:
        ids = torch.randint(5, 300, shape, generator=torch.Generator().manual_seed(shape[1]))
        for layers in (list(range(LAYERS)), [1]):
            assert_close(see_all(compiled, ids, layers), see_all(plain, ids, layers))
        assert_close(
            see_all(compiled, ids, [0, 2], inputs=True), see_all(plain, ids, [0, 2], inputs=True)
        )


def test_inputs_of_compiled_layers_are_handed_out_without_leaving_the_compiled_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, compiled = load_both("llama", tmp_path)
    ids = torch.randint(5, 300, (2, 8))

    def refuse(stance: str) -> None:
        raise AssertionError(stance)

    monkeypatch.setattr("torch.compiler.set_stance", refuse)
    found = see_all(compiled, ids, [0, 2], inputs=True)

    assert [name for name in found if name.startswith("input")] == ["input 0", "input 2"]


def test_a_listener_that_raises_leaves_nobody_listening(tmp_path: Path) -> None:
    _, compiled = load_both("llama", tmp_path)
    ids = torch.randint(5, 300, (2, 8))

    def refuse(layer: int, values: Tensor) -> None:
        raise KeyError(layer)

    with pytest.raises(KeyError, match="1"):
        run_block(compiled, ids, None, points_of(compiled, [1, 2]), refuse)
    with torch.inference_mode():
        compiled.parts.body(input_ids=ids, use_cache=False)


def test_what_cannot_be_compiled_is_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    _, compiled = load_both("llama", tmp_path)
    torch._dynamo.reset()
    points, ids = points_of(compiled, [0]), torch.randint(5, 300, (2, 8))

    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "/nonexistent")}),
        torch.compiler.config.patch(force_disable_caches=True),
        pytest.raises(
            ModelLoadError, match=r"tiny-llama: torch\.compile failed: .*Without POLYSEME_COMPILE"
        ),
    ):
        run_block(compiled, ids, None, points, lambda layer, values: None)
