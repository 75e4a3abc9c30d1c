"""`polyseme dictionaries`, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from polyseme.contract.records.catalogue import load_catalogue, load_dictionaries
from tests.client.standins import run_polyseme
from tests.client.wire import Answer, Wire
from tests.tiny_models import save_model
from tests.workers.analysis.dictionaries.builders import noise, saelens_tensors, write_saelens

AT = ["--catalogue", "models.toml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a catalogue of one model, and a dictionary beside it."""
    (tmp_path / "models.toml").write_text('[[models]]\nid = "m"\npath = "model"\n')
    write_saelens(tmp_path / "sae", saelens_tensors(), architecture="topk", k=3)
    return tmp_path


def test_a_folder_is_added_and_the_next_step_is_said(folder: Path) -> None:
    done = run_polyseme(["dictionaries", "add", "mine", "m", "sae", *AT], folder)

    assert done.returncode == 0, done.stderr
    entry = load_dictionaries(folder / "models.toml")["mine"]
    assert (entry.model, entry.kind, entry.location) == ("m", "path", str(folder / "sae"))
    assert "polyseme dictionaries check mine" in done.stderr
    assert list(load_catalogue(folder / "models.toml")) == ["m"]


def test_a_hub_id_keeps_its_folder_revision_and_format(folder: Path) -> None:
    arguments = ["dictionaries", "add", "g", "m", "google/gemma-scope-2b-pt-res", *AT]
    options = ["--folder", "layer_9/width_16k", "--format", "gemma-scope-1", "--json"]

    without = run_polyseme([*arguments, *options], folder)
    done = run_polyseme([*arguments, *options, "--revision", "1f"], folder)

    assert (without.returncode, "needs --revision" in without.stderr) == (2, True)
    entry = load_dictionaries(folder / "models.toml")["g"]
    assert entry.source == "hub:google/gemma-scope-2b-pt-res/layer_9/width_16k@1f"
    assert json.loads(done.stdout)["format"] == entry.format == "gemma-scope-1"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a", "n", "sae"], 2, "model 'n' is not in the catalogue, which has m"),
        (["a", "m", "nowhere"], 2, "nowhere: give a folder or file that is there"),
        (["a", "m", "./nowhere/x"], 2, "give a folder or file that is there"),
        (["a", "m", "sae", "--revision", "1"], 2, "are of a Hugging Face id"),
        (["a", "m", "sae", "--format", "pt"], 2, "format 'pt'; known are auto, saelens"),
        (["A", "m", "sae"], 2, "id 'A' must match"),
    ],
)
def test_what_would_be_no_catalogue_is_refused_and_it_stays(
    arguments: list[str], code: int, sentence: str, folder: Path
) -> None:
    before = (folder / "models.toml").read_text()

    done = run_polyseme(["dictionaries", "add", *arguments, *AT], folder)

    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert (folder / "models.toml").read_text() == before


def test_a_model_comes_first(tmp_path: Path) -> None:
    done = run_polyseme(["dictionaries", "add", "a", "m", ".", *AT], tmp_path)

    assert done.returncode == 5
    assert "there is no catalogue yet; add its model first" in done.stderr


def test_a_model_with_dictionaries_stays_and_others_go_without_them(folder: Path) -> None:
    run_polyseme(["dictionaries", "add", "mine", "m", "sae", *AT], folder)
    save_model("llama", folder / "other")
    run_polyseme(["models", "add", "other", "other", *AT], folder)
    run_polyseme(["dictionaries", "add", "its", "m", "sae", *AT], folder)

    kept = run_polyseme(["models", "remove", "m", *AT], folder)
    gone = run_polyseme(["models", "remove", "other", *AT], folder)

    assert (kept.returncode, gone.returncode) == (2, 0), gone.stderr
    assert "m has the dictionaries mine, its: take them out first" in kept.stderr
    assert list(load_catalogue(folder / "models.toml")) == ["m"]
    assert list(load_dictionaries(folder / "models.toml")) == ["mine", "its"]


def test_a_check_says_what_a_dictionary_is(folder: Path) -> None:
    run_polyseme(["dictionaries", "add", "mine", "m", "sae", *AT], folder)

    done = run_polyseme(["dictionaries", "check", "mine", "--json", *AT], folder)

    assert done.returncode == 0, done.stderr
    checked = json.loads(done.stdout)
    card = checked["card"]
    assert (card["id"], card["model"], card["format"]) == ("mine", "m", "saelens")
    assert (card["hook"], card["latents"], card["expected_l0"]) == (
        "blocks.1.hook_resid_post",
        20,
        3,
    )
    assert (checked["target"], checked["fit"]) == (card["hook"], None)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nothing"], 5, "nothing is no dictionary in models.toml, and no folder"),
        (["model"], 2, "model: "),
        (["sae", "--texts", "none.txt"], 2, "none.txt: there is no such file"),
        (["sae", "--texts", "models.toml"], 2, "Say --model: texts are run through one"),
        (["sae", "--texts", "models.toml", "--model", "n"], 5, "n is not in models.toml"),
    ],
)
def test_what_cannot_be_checked_is_named(
    arguments: list[str], code: int, sentence: str, folder: Path
) -> None:
    (folder / "model").mkdir()

    done = run_polyseme(["dictionaries", "check", *arguments, *AT], folder)

    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr


def test_a_dictionary_of_a_strange_model_does_not_fit(folder: Path) -> None:
    save_model("llama", folder / "model")
    tensors = {
        "W_enc": noise(48, 60, seed=1, scale=9),
        "b_enc": noise(60, seed=2),
        "W_dec": noise(60, 48, seed=3, scale=9),
        "b_dec": noise(48, seed=4),
    }
    hook = {"hook_name": "blocks.1.mlp.hook_post"}
    write_saelens(folder / "strange", tensors, metadata=hook, d_in=48, d_sae=60)
    (folder / "texts.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 20)
    options = ["--texts", "texts.txt", "--model", "m", *AT]

    done = run_polyseme(["dictionaries", "check", "strange", *options], folder)

    assert done.returncode == 1, done.stderr
    assert "strange does not fit" in done.stderr
    assert "reads          blocks.1.mlp.hook_post\n" in done.stdout
    assert "latents        60 over 48 numbers\n" in done.stdout
    assert "L0 expected    not said\n" in done.stdout
    assert " at blocks.2.mlp.hook_post\n" in done.stdout
    assert "WRONG          it leaves" in done.stdout


def test_a_pickle_is_converted_and_told_of(tmp_path: Path) -> None:
    values = {
        "encoder.weight": noise(20, 6, seed=1),
        "encoder.bias": noise(20, seed=2),
        "decoder.weight": noise(6, 20, seed=3),
        "bias": noise(6, seed=4),
    }
    torch.save(values, tmp_path / "ae.pt")
    hook = ["--hook", "blocks.8.hook_resid_post"]

    done = run_polyseme(["dictionaries", "convert", "ae.pt", "out", *hook], tmp_path)

    assert done.returncode == 0, done.stderr
    assert "ae.pt is of dictionary_learning's AutoEncoder:" in done.stdout
    assert "encoder.weight               20x6 float32" in done.stdout
    assert "out has a standard of 20 latents at blocks.8.hook_resid_post" in done.stdout
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]


def test_dictionaries_of_the_service_are_a_line_each(tmp_path: Path, wire: Wire) -> None:
    known = {"id": "res-9", "model": "m", "site": "resid_post", "layer": 9, "latents": 16384}
    rows = [
        known | {"state": "ready", "architecture": "jumprelu"},
        {"id": "b", "model": "m", "state": "undescribed"},
        {"id": "c", "model": "m", "state": "unusable", "error": "c: there is no folder"},
    ]
    wire.on("GET /v1/dictionaries", Answer({"data": rows}))
    wire.on("GET /v1/dictionaries?model=m", Answer({"data": rows[:1]}))

    listed = run_polyseme(["dictionaries", "list", "--url", wire.url], tmp_path)
    one = run_polyseme(
        ["dictionaries", "list", "--model", "m", "--json", "--url", wire.url], tmp_path
    )

    assert [" ".join(line.split()) for line in listed.stdout.splitlines()] == [
        "res-9 m 16,384 latents of resid_post, layer 9 (jumprelu)",
        "b m not read yet: its worker starts, or there is none",
        "c m c: there is no folder",
    ]
    assert json.loads(one.stdout) == rows[0]
