"""Compiles the CPU kernels for this machine, so that no job waits for it: `python -m
polyseme.workers.analysis.warm_up`.

It runs whole analyses of a tiny model, of its neurons and of a dictionary's latents, since a kernel
is compiled for the kinds of arrays that it is called with. What is compiled is kept beside the
code, or in NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from polyseme.contract.records.catalogue import Entry
from polyseme.contract.records.request import AnalysisRequest, Contexts, Neurons
from polyseme.workers.analysis.dictionaries.dictionary import Dictionary, Encoder, Notes
from polyseme.workers.analysis.dictionaries.gates import TopK
from polyseme.workers.analysis.dictionaries.hook_names import make_place
from polyseme.workers.analysis.models.load import load_model
from polyseme.workers.analysis.run import run_analysis
from polyseme.workers.analysis.sites.latents import make_site, read_latents

_WORDS = 64
_DOCUMENTS = 200  # enough contexts for senses


def main() -> int:
    transformers.utils.logging.disable_progress_bar()
    with TemporaryDirectory(prefix="polyseme-compiling-") as name:
        folder = Path(name)
        save_tiny_model(folder / "model", words=_WORDS, hidden=32, neurons=96, layers=2, heads=2)
        entry = Entry("tiny", "path", str(folder / "model"))
        model = load_model(entry, device="cpu", dtype="float32", cache=folder / "cache")
        texts = [
            " ".join(f"w{(i * j) % _WORDS}" for j in range(1, 20)) for i in range(1, _DOCUMENTS)
        ]
        both = AnalysisRequest("tiny", "tiny", contexts=Contexts(tails="both"))
        run_analysis(model, both, texts, folder / "neurons")
        read = {"tiny": make_tiny_dictionary(hidden=32, latents=96)}
        latents = read_latents(model.parts, read, model.device)
        site = make_site(latents)
        request = AnalysisRequest("tiny", "tiny", Neurons(site.name, (0,)))
        run_analysis(model, request, texts, folder / "latents", own_site=site, latents=latents)
    return 0


def make_tiny_dictionary(*, hidden: int, latents: int) -> Dictionary:
    """A random encoder of what leaves the first layer."""
    encoder = Encoder(torch.randn(latents, hidden), None, TopK(4))
    return Dictionary(make_place("resid_post", 0), None, encoder, None, Notes())


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
