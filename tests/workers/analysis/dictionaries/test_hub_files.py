"""What is fetched of a repo: what is read, and never a pickle."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from polyseme.contract.records.catalogue import DictionaryEntry
from polyseme.workers.analysis.dictionaries import hub_files
from polyseme.workers.analysis.dictionaries.formats import describe_dictionary, read_dictionary
from tests.workers.analysis.dictionaries.builders import M, write_clt, write_gemma_scope

REPO = "google/gemma-scope-2b-pt-res"


class Hub:
    """A repo in a folder in place of the network."""

    def __init__(self, cache: Path) -> None:
        self.snapshot = cache / f"models--{REPO.replace('/', '--')}/snapshots/1f"
        self.fetched: list[str] = []

    def download(self, repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert (repo, revision) == (REPO, "1f")
        files = (f for f in self.snapshot.rglob("*") if f.is_file())
        names = sorted(f.relative_to(self.snapshot).as_posix() for f in files)
        self.fetched = [n for n in names if any(fnmatch(n, p) for p in allow_patterns)]
        return str(self.snapshot)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path)
    monkeypatch.setattr(hub_files, "snapshot_download", found.download)
    return found


def entry(folder: str) -> DictionaryEntry:
    return DictionaryEntry("mine", "m", "hub", REPO, folder, "1f")


def test_the_repos_name_says_what_it_is_of(hub: Hub) -> None:
    folder = write_gemma_scope(hub.snapshot / "layer_20/average_l0_71")
    (folder / "ae.pt").write_bytes(b"")
    (folder / "examples.safetensors").write_bytes(b"")

    read = read_dictionary(entry("layer_20/average_l0_71"))

    assert (read.site, read.layer, read.latents) == ("resid_post", 20, M)
    assert hub.fetched == ["layer_20/average_l0_71/params.npz"]


def test_of_a_cross_layer_transcoder_one_file_is_fetched_with_its_settings(hub: Hub) -> None:
    write_clt(hub.snapshot / "clt", 2)
    write_clt(hub.snapshot / "clt", 3)

    read = read_dictionary(entry("clt/W_enc_2.safetensors"))

    assert read.layer == 2
    assert hub.fetched == ["clt/W_enc_2.safetensors", "clt/config.yaml"]


def test_a_hub_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(hub_files, "snapshot_download", fail)

    card = describe_dictionary(entry("layer_20"))

    assert card.error == f"mine: cannot fetch hub:{REPO}/layer_20@1f: no connection"
