"""Whether what is read at a site is what TransformerLens has under the same name.

Tiny models of random weights are saved, run here, and run by TransformerBridge without processing
in an environment of its own. For each site of each architecture: the largest difference between
the two, as a share of the largest value.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.markdown import table
from benchmarks.peers import environments
from polyseme.workers.analysis.models.capture import run_block
from polyseme.workers.analysis.models.load import LoadedModel
from polyseme.workers.analysis.sites.table import SITES
from tests.tiny_models import LAYERS, load_tiny

FAMILIES = ("gpt2", "llama", "gemma2", "gpt_neox")
LARGEST = 1e-5
_PEER = "transformer-lens"
_MODULE = "benchmarks.peers.bridge_values"  # by its path it would find our module of their name
_ROOT = Path(environments.__file__).parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--families", nargs="*", default=FAMILIES, help="of tests/tiny_models.py")
    parser.add_argument(
        "--environments", type=Path, default=Path("polyseme-data/peers"), help="folder of the peer"
    )


def run(options: argparse.Namespace) -> str:
    python = environments.prepare_environment(_PEER, options.environments)
    rows = [row for family in options.families for row in _compare(family, python)]
    header = ["family", "site", "hook", "largest difference", "state"]
    report = f"TransformerBridge of {environments.versions(_PEER)}.\n\n{table(header, rows)}"
    if any(row[-1] != "equal" for row in rows):
        print(report)
        raise SystemExit(1)
    return report


def _compare(family: str, python: Path) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = load_tiny(family, folder / "model")
        ids = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(7))
        ours = {site.site: _read(model, site.site, ids) for site in model.card.sites if site.units}
        values = {hook: value for hooks in ours.values() for hook, value in hooks.items()}
        np.savez(folder / "ours.npz", ids=ids.numpy(), **values)
        subprocess.run(
            [str(python), "-m", _MODULE, str(folder / "model"), str(folder / "ours.npz")],
            check=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
        )
        theirs = dict(np.load(folder / "theirs.npz"))
    return [_judge(family, site, model, hooks, theirs) for site, hooks in ours.items()]


def _read(model: LoadedModel, site: str, ids: Tensor) -> dict[str, np.ndarray]:
    """(B, S, N) of each layer, by the hook's name."""
    found: dict[str, np.ndarray] = {}
    hook = model.card.site(site).hook
    points = SITES[site].points(model.parts, range(LAYERS))

    def receive(layer: int, values: Tensor) -> None:
        found[hook.format(layer=layer)] = values.numpy().copy()

    run_block(model, ids, None, points, receive)
    return found


def _judge(
    family: str,
    site: str,
    model: LoadedModel,
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
) -> list[str]:
    hook = model.card.site(site).hook
    if missing := sorted(set(ours) - set(theirs)):
        return [family, site, hook, "-", f"MISSING {missing[0]}"]
    off = max(
        float(np.abs(value - theirs[name]).max() / np.abs(value).max())
        for name, value in ours.items()
    )
    return [family, site, hook, f"{off:.1e}", "equal" if off < LARGEST else "DIFFERS"]
