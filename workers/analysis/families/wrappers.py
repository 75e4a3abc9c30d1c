"""Models of text and more, such as images: the text model inside them, which alone is loaded."""

from __future__ import annotations

from typing import Any

from polyseme.workers.analysis.families.architectures import WRAPPERS

# The names of a wrapper's weights, old and new, as those of its text model alone.
_NAMES = {
    r"^language_model\.model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
    r"^model\.language_model\.": "model.",
}


def find_text_config(config: Any) -> Any:
    """The config of the text model inside a wrapper's; any other one as it is."""
    if config.model_type not in WRAPPERS:
        return config
    text = config.text_config
    # Said once, of the whole.
    text.tie_word_embeddings = config.tie_word_embeddings
    if quantization := getattr(config, "quantization_config", None):
        text.quantization_config = quantization
    return text


def loading_options(model_type: str) -> dict[str, Any]:
    """What transformers' from_pretrained needs to find the text model's weights in the files of
    this model_type.
    """
    return {"key_mapping": _NAMES} if model_type in WRAPPERS else {}
