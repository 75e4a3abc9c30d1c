"""Compiles the CPU kernels for this machine, so that no job waits for it: `python -m
polyseme.workers.analysis.warm_up`.

It runs a whole analysis of a tiny model, since a kernel is compiled for the kinds of arrays that it
is called with. What is compiled is kept beside the code, or in NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest
from polyseme.workers.analysis.models.load import load_model
from polyseme.workers.analysis.run import run_analysis

_WORDS = 64
_DOCUMENTS = 200  # enough contexts for senses


def main() -> int:
    transformers.utils.logging.disable_progress_bar()
    with TemporaryDirectory(prefix="polyseme-compiling-") as name:
        folder = Path(name)
        save_tiny_model(folder / "model", words=_WORDS, hidden=32, neurons=96, layers=2, heads=2)
        entry = Entry("tiny", "path", str(folder / "model"))
        model = load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")
        request = AnalysisRequest.from_dict(
            {"model": "tiny", "corpus": {"id": "tiny"}, "contexts": {"tails": "both"}}
        )
        texts = (
            " ".join(f"w{(i * j) % _WORDS}" for j in range(1, 20)) for i in range(1, _DOCUMENTS)
        )
        run_analysis(model, request, texts, folder / "result")
    return 0


def save_tiny_model(
    folder: Path, *, words: int, hidden: int, neurons: int, layers: int, heads: int
) -> None:
    """A random Llama as a folder; its tokens are the words "w0" to "w<words - 1>". neurons: a
    layer.
    """
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="w0", pad_token="w0"
    ).save_pretrained(str(folder))
    config = transformers.LlamaConfig(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=neurons,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(str(folder))


if __name__ == "__main__":
    sys.exit(main())
