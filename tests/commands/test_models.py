from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyseme.commands.models import find_source
from polyseme.contract.records.catalogue import load_catalogue
from polyseme.errors import CommandError
from tests.client.standins import run_polyseme


def model_folder(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names or ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_folder_is_added_to_the_catalogue_and_the_next_step_is_said(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "my model")

    done = run_polyseme(
        ["models", "add", "mine", "my model", "--queue", "big", "--data", "data", "--json"],
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    entry = load_catalogue(tmp_path / "data/models.toml")["mine"]
    assert (entry.kind, entry.location, entry.queue) == ("path", str(folder), "big")
    assert json.loads(done.stdout)["source"] == f"path:{folder}"
    assert "polyseme up" in done.stderr


def test_what_the_catalogue_has_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('# mine\n[[models]]\nid = "a"\npath = "a"\n')
    model_folder(tmp_path / "b")

    run_polyseme(["models", "add", "b", "b", "--catalogue", "models.toml"], tmp_path)
    again = run_polyseme(["models", "add", "b", "b", "--catalogue", "models.toml"], tmp_path)

    assert (tmp_path / "models.toml").read_text().startswith('# mine\n[[models]]\nid = "a"')
    assert list(load_catalogue(tmp_path / "models.toml")) == ["a", "b"]
    assert (again.returncode, again.stderr) == (2, "models.toml: two models have the id 'b'\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "models.toml"]


def test_a_hub_id_needs_a_revision(tmp_path: Path) -> None:
    arguments = ["models", "add", "pythia-70m", "EleutherAI/pythia-70m", "--data", "."]

    without = run_polyseme(arguments, tmp_path)
    run_polyseme([*arguments, "--revision", "a39f36b"], tmp_path)

    assert without.returncode == 2
    assert "needs --revision" in without.stderr
    assert (
        load_catalogue(tmp_path / "models.toml")["pythia-70m"].source
        == "hub:EleutherAI/pythia-70m@a39f36b"
    )


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("model.safetensors", "tokenizer.json"), "no config.json"),
        (("config.json", "pytorch_model.bin", "tokenizer.json"), r"no \*.safetensors"),
        (("config.json", "model.safetensors"), "no tokenizer"),
    ],
)
def test_a_folder_that_no_worker_could_load_is_refused(
    tmp_path: Path, names: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        find_source(str(model_folder(tmp_path / "m", *names)))


@pytest.mark.parametrize("source", ["nothing", "./no/where", "missing.gguf", "a/b/c"])
def test_a_source_that_is_nothing_is_refused(source: str) -> None:
    with pytest.raises(CommandError):
        find_source(source)


def test_a_model_is_taken_out_and_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    first, last = (f'[[models]]\nid = "{n}"\npath = "/m/{n}"  # mine\n\n' for n in "ac")
    file.write_text(f'# Ours.\n{first}[[models]]\nid = "b"\npath = "/m/b"\n{last}')

    done = run_polyseme(["models", "remove", "b", "--catalogue", str(file)], tmp_path)
    again = run_polyseme(["models", "remove", "b", "--catalogue", str(file)], tmp_path)

    assert (done.returncode, done.stdout) == (0, f"b is no more in {file}.\n"), done.stderr
    assert file.read_text() == f"# Ours.\n{first}{last}"
    assert (again.returncode, again.stderr) == (5, f"b is not in {file}, which has a, c.\n")
