"""Sites made of directions, against products computed beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from polyseme.contract.errors import AnalysisError
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel, load_model
from polyseme.workers.analysis.sites.own_vectors import Projection, check_fits, make_site
from polyseme.workers.analysis.sites.site import Site
from polyseme.workers.analysis.sites.table import SITES
from tests.tiny_models import HIDDEN, load_tiny, save_model

LAYER, COUNT = 1, 7


@pytest.fixture(params=["llama", "gpt2", "gemma2", "granite", "bert", "gpt_neox"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    return load_tiny(str(request.param), tmp_path)


def projection_of(model: LoadedModel, site: str, *, bias: bool = True) -> Projection:
    draw = torch.Generator().manual_seed(3)
    width = SITES[site].units(model.parts)
    vectors = torch.randn(COUNT, width, generator=draw) * 2
    return Projection(vectors, torch.randn(COUNT, generator=draw) if bias else None)


def read(model: LoadedModel, site: Site) -> Tensor:
    """(B, S, N)."""
    ids = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(7))
    mask = torch.ones_like(ids) if model.card.kind == "encoder" else None
    found: list[Tensor] = []
    points = site.points(model.parts, [LAYER])
    run_block(model, ids, mask, points, lambda _, values: found.append(values.clone()))
    return found[0]


@pytest.mark.parametrize("name", ["mlp", "resid_pre", "resid_post", "mlp_in", "mlp_out", "z"])
def test_units_are_products_with_what_stands_at_the_site(model: LoadedModel, name: str) -> None:
    of, projection = SITES[name], projection_of(model, name)
    assert projection.bias is not None
    site = make_site(of, projection, "0" * 64)

    found, values = read(model, site), read(model, of).double()

    wanted = values @ projection.vectors.double().T + projection.bias.double()
    assert found.shape == (2, 12, COUNT)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    card, known = site.card(model.parts), of.card(model.parts)
    assert (card.site, card.units, card.hook, card.signed) == ("vectors", COUNT, known.hook, True)


@pytest.mark.parametrize("name", ["mlp", "resid_post", "mlp_in", "mlp_out", "z"])
def test_a_vector_writes_what_its_sites_units_write(model: LoadedModel, name: str) -> None:
    of, projection = SITES[name], projection_of(model, name)

    found = make_site(of, projection, "").directions(model.parts, LAYER)
    of_units = of.directions(model.parts, LAYER)

    assert (found is None) == (of_units is None) == (name == "mlp_in")
    if found is not None and of_units is not None:
        wanted = projection.vectors.double() @ of_units.double()
        assert found.shape == (COUNT, HIDDEN)
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("name", ["mlp", "resid_post", "z"])
@pytest.mark.parametrize("bias", [False, True])
def test_control_units_are_the_sites_as_long_as_vectors(
    model: LoadedModel, name: str, bias: bool
) -> None:
    of, projection = SITES[name], projection_of(model, name, bias=bias)
    site = make_site(of, projection, "")
    assert site.controls is not None
    assert of.controls is not None
    assert site.control_points(model.parts, [LAYER]) != {}
    point, own = (s.control_points(model.parts, [LAYER])[LAYER] for s in (site, of))
    assert (point.module, point.side) == (own.module, own.side)
    width = of.units(model.parts) if name == "z" else HIDDEN
    hidden = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        found = site.controls.make(model.parts, LAYER, 20)(hidden)
        plain = of.controls.make(model.parts, LAYER, 20)(hidden).double()

    alike = [g % COUNT for g in range(20)]
    wanted = plain * projection.vectors.double().norm(dim=1)[alike]
    if projection.bias is not None:
        wanted = wanted + projection.bias.double()[alike]
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_what_a_model_computes_in_bfloat16_is_multiplied_in_float32(tmp_path: Path) -> None:
    entry = save_model("llama", tmp_path)
    model = load_model(entry, device="cpu", dtype="bfloat16", cache=tmp_path / "cache")
    of, projection = SITES["resid_post"], projection_of(model, "resid_post")
    assert projection.bias is not None

    found, values = read(model, make_site(of, projection, "")), read(model, of)

    wanted = values.double() @ projection.vectors.double().T + projection.bias.double()
    assert (values.dtype, found.dtype) == (torch.bfloat16, torch.float32)
    assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()


def test_directions_of_another_width_do_not_fit(tmp_path: Path) -> None:
    model = load_tiny("gpt_neox", tmp_path)
    narrow = Projection(torch.ones(2, HIDDEN - 1), None)
    check_fits(SITES["resid_post"], Projection(torch.ones(2, HIDDEN), None), model.parts)

    with pytest.raises(AnalysisError, match="31 numbers each, and resid_post of this model 32"):
        check_fits(SITES["resid_post"], narrow, model.parts)
