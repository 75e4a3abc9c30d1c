"""What TransformerBridge has under the names of hooks: run by `benchmarks.sites` in the environment
of TransformerLens.

Arguments: the folder of a saved model, and an .npz with `ids` (B, S), beside which `theirs.npz` is
written: of each name of the file's other arrays what the bridge has there, where it has anything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(model: str, ours: Path) -> None:
    known = np.load(ours)
    whole = AutoModelForCausalLM.from_pretrained(
        model, attn_implementation="eager", dtype=torch.float32
    )
    bridge = TransformerBridge.boot_transformers(
        model, hf_model=whole.eval(), tokenizer=AutoTokenizer.from_pretrained(model), device="cpu"
    )
    with torch.inference_mode():
        _, cache = bridge.run_with_cache(torch.from_numpy(known["ids"]))
    found = {name: cache[name] for name in known.files if name != "ids" and name in cache}
    arrays = {name: value.float().flatten(2).numpy() for name, value in found.items()}
    np.savez(ours.with_name("theirs.npz"), **arrays)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
