"""A dictionary in memory."""

from __future__ import annotations

from pathlib import Path

import torch

from polyseme.workers.analysis.dictionaries.formats import read_path
from tests.workers.analysis.dictionaries.builders import D, M, gated_tensors, write_saelens


def test_it_moves_whole_to_a_device(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path, gated_tensors(), architecture="gated")
    read = read_path(folder)

    moved = read.to(torch.device("meta"))

    assert moved.encode(torch.empty(3, D, device="meta")).shape == (3, M)
    latents, x = torch.empty(3, M, device="meta"), torch.empty(3, D, device="meta")
    assert moved.decode(latents, x).shape == (3, D)
    assert (moved.sha256, moved.hook) == (read.sha256, read.hook)


def test_decoder_norms_are_the_lengths_of_its_rows(tmp_path: Path) -> None:
    tensors = gated_tensors()
    read = read_path(write_saelens(tmp_path, tensors, architecture="gated"))

    assert read.decoder_norm is not None
    torch.testing.assert_close(read.decoder_norm, tensors["W_dec"].norm(dim=1))
