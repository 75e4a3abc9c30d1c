"""Contender: SAEDashboard's `SaeVisRunner`, its dashboards saved as JSON.

It has no runner for neurons. An autoencoder that changes nothing stands in: each neuron is one of
its features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae_dashboard.components_config import (
    ActsHistogramConfig,
    Column,
    FeatureTablesConfig,
    LogitsHistogramConfig,
    LogitsTableConfig,
    SequencesConfig,
)
from sae_dashboard.layout import SaeVisLayoutConfig
from sae_dashboard.sae_vis_data import SaeVisConfig, SaeVisData
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import HookedSAETransformer, StandardSAE, StandardSAEConfig
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights
from transformers import AutoModelForCausalLM

from benchmarks.peers.protocol import Maxima, Task, Way, serve


def load(task: Task) -> Mapping[str, Way]:
    (layer,) = task.layers
    model = _hooked_model(Path(task.model), task.window)
    encoder, tokens = _identity(model.cfg.d_mlp), torch.from_numpy(np.load(task.ids))

    def run(folder: Path) -> Maxima:
        config = SaeVisConfig(
            hook_point=f"blocks.{layer}.mlp.hook_post",
            features=range(task.neurons),
            minibatch_size_tokens=task.batch,
            feature_centric_layout=_layout(task.top_k),
        )
        data = SaeVisRunner(config).run(encoder, model, tokens)
        data.save_json(folder / "dashboards.json")
        return lambda: _maxima(data, task.neurons)

    return {"sae-dashboard": run}


def _hooked_model(folder: Path, window: int) -> HookedSAETransformer:
    """The model in TransformerLens' own form.

    Its `from_pretrained` would ask a hub for the config.
    """
    llama = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = HookedTransformerConfig(
        n_layers=llama["num_hidden_layers"],
        n_ctx=window,
        d_model=llama["hidden_size"],
        d_head=llama["head_dim"],
        d_mlp=llama["intermediate_size"],
        d_vocab=llama["vocab_size"],
        n_heads=llama["num_attention_heads"],
        n_key_value_heads=llama["num_key_value_heads"],
        act_fn=llama["hidden_act"],
        gated_mlp=True,
        normalization_type="RMS",
        final_rms=True,
        eps=llama["rms_norm_eps"],
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=False,
        rotary_dim=llama["head_dim"],
        rotary_base=llama["rope_parameters"]["rope_theta"],
        dtype=torch.float32,
        device="cpu",
    )
    weights = convert_llama_weights(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config
    )
    model = HookedSAETransformer(config)
    model.load_and_process_state_dict(
        weights, fold_ln=False, center_writing_weights=False, center_unembed=False
    )
    return model


def _layout(top_k: int) -> SaeVisLayoutConfig:
    """What its runner for Neuronpedia asks for: whole windows, and a sample over five intervals."""
    sequences = SequencesConfig(
        buffer=None, n_quantiles=5, top_acts_group_size=top_k, quantile_group_size=5
    )
    others = (
        ActsHistogramConfig(),
        LogitsHistogramConfig(),
        LogitsTableConfig(),
        FeatureTablesConfig(n_rows=3),
    )
    return SaeVisLayoutConfig(columns=[Column(sequences, *others)])


def _identity(size: int) -> Any:
    encoder = StandardSAE(StandardSAEConfig(d_in=size, d_sae=size, dtype="float32", device="cpu"))
    zero, one = torch.zeros(size), torch.eye(size)
    encoder.load_state_dict({"W_enc": one, "W_dec": one, "b_enc": zero, "b_dec": zero})
    return encoder


def _maxima(data: SaeVisData, neurons: int) -> np.ndarray:
    groups = [data.feature_data_dict[n].sequence_data.seq_group_data for n in range(neurons)]
    return np.array(
        [[max(max(s.feat_acts) for group in each for s in group.seq_data) for each in groups]]
    )


if __name__ == "__main__":
    serve(load)
