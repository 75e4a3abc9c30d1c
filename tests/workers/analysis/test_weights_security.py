"""Model folders made to run code or to read what is not theirs: each is refused, or its trap is
passed by.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from polyseme.contract.errors import DamagedFile, PolysemeError
from polyseme.contract.files.store import Store
from polyseme.contract.records.catalogue import Entry
from polyseme.workers.analysis.files.arrays import read_arrays
from polyseme.workers.analysis.models.load import describe_model, load_model
from tests.tiny_models import save_model

WEIGHTS = "model.safetensors"


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def bomb(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


def torch_bomb(mark: Path) -> bytes:
    """In the form that torch.save writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", bomb(mark))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def code(mark: Path) -> str:
    return f"import os\nos.mkdir({str(mark)!r})\nclass Evil: pass\n"


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def replace_weights(folder: Path, name: str, content: bytes) -> None:
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(content)


def list_shards(folder: Path, shard: str) -> None:
    """An index that says every weight is in one file."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        names = list(file.keys())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, shard)})
    )


def own_code(folder: Path, mark: Path, file: str, key: str) -> None:
    (folder / "evil.py").write_text(code(mark))
    change_json(folder / file, auto_map={key: "evil.Evil"})


def shard_outside(folder: Path, mark: Path) -> None:
    (folder.parent / "outside.bin").write_bytes(torch_bomb(mark))
    list_shards(folder, "../outside.bin")
    (folder / WEIGHTS).rename(folder / "other.safetensors")


def pickled_shard(folder: Path, mark: Path) -> None:
    (folder / "shard.bin").write_bytes(torch_bomb(mark))
    list_shards(folder, "shard.bin")
    (folder / WEIGHTS).rename(folder / "other.safetensors")


def pickles_beside(folder: Path, mark: Path) -> None:
    for name in (
        "pytorch_model.bin",
        "optimizer.pt",
        "training_args.bin",
        "adapter_model.bin",
        "scheduler.pt",
    ):
        (folder / name).write_bytes(torch_bomb(mark))


Spoil = Callable[[Path, Path], None]  # the model's folder, and what must not come to be

REFUSED: dict[str, Spoil] = {
    "a pickle": lambda f, m: replace_weights(f, "pytorch_model.bin", bomb(m)),
    "a pickle as torch writes it": lambda f, m: replace_weights(
        f, "pytorch_model.bin", torch_bomb(m)
    ),
    "a .pt file": lambda f, m: replace_weights(f, "model.pt", torch_bomb(m)),
    "a .ckpt file": lambda f, m: replace_weights(f, "model.ckpt", torch_bomb(m)),
    "TensorFlow's weights": lambda f, m: replace_weights(f, "tf_model.h5", bomb(m)),
    "Flax' weights": lambda f, m: replace_weights(f, "flax_model.msgpack", bomb(m)),
    "a pickle that calls itself safetensors": lambda f, m: replace_weights(f, WEIGHTS, bomb(m)),
    "a torch file that calls itself safetensors": lambda f, m: replace_weights(
        f, WEIGHTS, torch_bomb(m)
    ),
    "a header of 2**60 bytes": lambda f, m: replace_weights(
        f, WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}"
    ),
    "a header that is no JSON": lambda f, m: replace_weights(
        f, WEIGHTS, struct.pack("<Q", 4) + b"\x80\x04N."
    ),
    "an empty file": lambda f, m: replace_weights(f, WEIGHTS, b""),
    "an index of a pickled shard": pickled_shard,
    "an index of a file outside of the folder": shard_outside,
    "code for an unknown architecture": lambda f, m: (
        own_code(f, m, "config.json", "AutoModelForCausalLM"),
        change_json(f / "config.json", model_type="evil", architectures=["Evil"]),
    )[0],
    "code for a config": lambda f, m: (
        own_code(f, m, "config.json", "AutoConfig"),
        change_json(f / "config.json", model_type="evil"),
    )[0],
}

PASSED_BY: dict[str, Spoil] = {
    "pickles beside the weights": pickles_beside,
    "code for the model": lambda f, m: own_code(f, m, "config.json", "AutoModelForCausalLM"),
    "code for the config": lambda f, m: own_code(f, m, "config.json", "AutoConfig"),
    "code for the tokenizer": lambda f, m: own_code(f, m, "tokenizer_config.json", "AutoTokenizer"),
    "a module named as a library": lambda f, m: (f / "safetensors.py").write_text(code(m)) and None,
    "a chat template that runs code": lambda f, m: change_json(
        f / "tokenizer_config.json", chat_template="{{ ''.__class__.__mro__[1].__subclasses__() }}"
    ),
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_weights_that_are_no_safetensors_are_refused(attempt: str, tmp_path: Path) -> None:
    entry, mark = save_model("gpt2", tmp_path / "model"), tmp_path / "mark"
    REFUSED[attempt](tmp_path / "model", mark)

    with pytest.raises(PolysemeError) as caught:
        load_model(entry, device="cpu", dtype="float32", cache=tmp_path / "cache")

    assert re.match(
        "tiny-gpt2: |evil: it needs code that comes with the model", caught.value.message
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    "shard", ["shard.bin", "../outside.safetensors", "/etc/x.safetensors", "a/b.safetensors"]
)
def test_an_index_names_safetensors_beside_it_and_nothing_else(shard: str, tmp_path: Path) -> None:
    entry = save_model("gpt2", tmp_path / "model")
    list_shards(tmp_path / "model", shard)

    with pytest.raises(PolysemeError, match=r"no \.safetensors file beside it"):
        load_model(entry, device="cpu", dtype="float32", cache=tmp_path / "cache")


@pytest.mark.parametrize("attempt", PASSED_BY)
def test_what_lies_beside_the_weights_is_not_run(
    attempt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, mark = save_model("gpt2", tmp_path / "model"), tmp_path / "mark"
    PASSED_BY[attempt](tmp_path / "model", mark)
    monkeypatch.chdir(tmp_path / "model")

    card = describe_model(entry, tmp_path / "cache")
    model = load_model(entry, device="cpu", dtype="float32", cache=tmp_path / "cache")

    assert card.error is None
    assert model.card.layers == 3
    assert not mark.exists()


def test_a_pickle_that_calls_itself_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(bomb(tmp_path / "mark"))

    with pytest.raises(PolysemeError):
        load_model(
            Entry("g", "gguf", str(tmp_path / "model.gguf")),
            device="cpu",
            dtype="float32",
            cache=tmp_path,
        )

    assert not (tmp_path / "mark").exists()


def test_pickled_objects_in_a_partial_are_refused(tmp_path: Path) -> None:
    member = io.BytesIO()
    np.lib.format.write_array(
        member, np.array([Bomb(tmp_path / "mark")], object), allow_pickle=True
    )
    with zipfile.ZipFile(tmp_path / "partial.npz", "w") as archive:
        archive.writestr("a.npy", member.getvalue())

    with pytest.raises(DamagedFile):
        read_arrays(Store(str(tmp_path)), "partial.npz")

    assert not (tmp_path / "mark").exists()


def test_the_bombs_are_live(tmp_path: Path) -> None:
    pickle.loads(bomb(tmp_path / "mark"))

    assert (tmp_path / "mark").exists()
