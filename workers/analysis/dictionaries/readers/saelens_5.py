"""SAELens before 6: a flat `cfg.json`, in older versions with all settings of its training.

Source: SAELens 6.54.12, loading/pretrained_sae_loaders.py, handle_pre_6_0_config.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polyseme.contract.errors import DictionaryLoadError
from polyseme.workers.analysis.dictionaries.cfg import Cfg
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary
from polyseme.workers.analysis.dictionaries.hook_names import parse_hook
from polyseme.workers.analysis.dictionaries.readers.saelens import (
    SETTINGS,
    WEIGHTS,
    Settings,
    check_settings,
    read_weights,
    take_architecture,
    take_k,
    take_norm,
    take_notes,
)
from polyseme.workers.analysis.dictionaries.weight_files import Folder

_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
# Of training and of where its texts came from: they change no number of what is saved.
_TRAINING = (
    "act_store_device",
    "activations_mixing_fraction",
    "adam_beta1",
    "adam_beta2",
    "autocast",
    "autocast_lm",
    "b_dec_init_method",
    "cached_activations_path",
    "checkpoint_path",
    "compile_llm",
    "compile_sae",
    "dataset_path",
    "dataset_trust_remote_code",
    "dead_feature_estimation_method",
    "dead_feature_threshold",
    "dead_feature_window",
    "decay_time",
    "decoder_heuristic_init",
    "decoder_heuristic_init_norm",
    "decoder_orthogonal_init",
    "device",
    "disable_concat_sequences",
    "dtype",
    "eval_batch_size_prompts",
    "eval_every_n_wandb_logs",
    "exclude_special_tokens",
    "expansion_factor",
    "feature_reinit_scale",
    "feature_sampling_method",
    "feature_sampling_window",
    "finetuning_method",
    "finetuning_tokens",
    "from_pretrained_path",
    "ghost_grads_mask",
    "hook_eval",
    "hook_layer",
    "hook_point_layer",
    "init_encoder_as_decoder_transpose",
    "is_dataset_tokenized",
    "jumprelu_bandwidth",
    "jumprelu_init_threshold",
    "l0_lambda",
    "l1_coefficient",
    "l1_warm_up_steps",
    "llm_batch_size",
    "llm_compilation_mode",
    "llm_device",
    "log_activations_store_to_wandb",
    "log_optimizer_state_to_wandb",
    "log_to_wandb",
    "log_weights_to_wandb",
    "logger",
    "lp_norm",
    "lr",
    "lr_decay_steps",
    "lr_end",
    "lr_scheduler_name",
    "lr_warm_up_steps",
    "model_class_name",
    "model_kwargs",
    "mse_loss_normalization",
    "n_batches_in_buffer",
    "n_checkpoints",
    "n_eval_batches",
    "n_restart_cycles",
    "noise_scale",
    "normalize_sae_decoder",
    "prepend_bos_to_prompt",
    "resample_batches",
    "resume",
    "run_name",
    "sae_compilation_mode",
    "sae_lens_training_version",
    "sae_lens_version",
    "scale_sparsity_penalty_by_decoder_norm",
    "seed",
    "seqpos_slice",
    "sequence_separator_token",
    "sparsity_coefficient",
    "store_batch_size",
    "store_batch_size_prompts",
    "streaming",
    "subset_lambdas",
    "tokens_per_buffer",
    "tokens_so_far",
    "total_training_steps",
    "total_training_tokens",
    "train_batch_size",
    "train_batch_size_tokens",
    "training_tokens",
    "use_cached_activations",
    "use_ghost_grads",
    "verbose",
    "wandb_entity",
    "wandb_id",
    "wandb_log_frequency",
    "wandb_project",
)


def read_saelens_5(folder: Folder) -> Dictionary:
    """Raises DictionaryLoadError."""
    return read_weights(_read_settings(folder.json(SETTINGS)), folder.safetensors(WEIGHTS))


def _read_settings(values: dict[str, Any]) -> Settings:
    cfg = Cfg(SETTINGS, {_RENAMED.get(name, name): value for name, value in values.items()})
    architecture = take_architecture(cfg)
    width, latents = cfg.whole("d_in"), cfg.whole("d_sae")
    k = _take_activation(cfg, architecture, latents)
    cfg.expect("hook_head_index", (None,), "dictionaries of one attention head are not read")
    cfg.expect("finetuning_scaling_factor", (False, None), "rescaled latents are not read")
    cfg.expect("reshape_activations", ("none", "hook_z"), "activations are reshaped otherwise")
    place = parse_hook(cfg.text("hook_name"))
    if "transcoder" in architecture:
        raise DictionaryLoadError(f"{SETTINGS}: SAELens before 6 had no {architecture}")
    found = Settings(
        architecture="topk" if k is not None else architecture,
        width=width,
        latents=latents,
        width_out=width,
        subtracts_bias=cfg.flag("apply_b_dec_to_input", True),
        norm=take_norm(_with_norm_by_name(cfg)),
        k=k,
        rescales=False,
        source=place,
        target=place,
        notes=replace(take_notes(cfg), expected_l0=k, most_active=k),
    )
    cfg.ignore(_TRAINING)
    cfg.refuse_rest()
    return check_settings(found)


def _take_activation(cfg: Cfg, architecture: str, latents: int) -> int | None:
    """The k of a topk, which older versions wrote as an activation function of `standard`."""
    name = cfg.expect("activation_fn", ("relu", "topk", None), "another activation function")
    options = Cfg(f"{SETTINGS}: activation_fn_kwargs", cfg.table("activation_fn_kwargs"))
    if name != "topk" and architecture != "topk":
        options.refuse_rest()
        return None
    if architecture not in ("standard", "topk"):
        raise DictionaryLoadError(f"{SETTINGS}: {architecture} with a topk is not known here")
    options.expect("signed", (False,), "latents that may be negative are not read")
    return take_k(options if "k" in options else cfg, latents)


def _with_norm_by_name(cfg: Cfg) -> Cfg:
    """`normalize_activations` was a bool at first."""
    value = cfg.take("normalize_activations", None)
    names = {None: "none", False: "none", True: "expected_average_only_in"}
    name = names.get(value, value) if isinstance(value, (bool, type(None))) else value
    return Cfg(SETTINGS, {"normalize_activations": name})
