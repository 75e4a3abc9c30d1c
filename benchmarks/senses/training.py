"""Trains a small model from nothing on one half of the Brown corpus: a third model for the other
benchmarks of senses, of another family than the first two, with an ungated MLP.

The other half of the documents is what `split_documents` with the same seed leaves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from benchmarks.senses.brown import Document, read_documents
from benchmarks.senses.passages import split_documents

VOCABULARY, WINDOW, BATCH = 4096, 128, 16
LAYERS, WIDTH, HEADS = 4, 128, 4
RATE, WARM_UP = 1e-3, 50  # of AdamW; in steps
END = "<|endoftext|>"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="for the model")
    parser.add_argument("--brown", type=Path, required=True, help="the corpus' folder")
    parser.add_argument("--steps", type=int, default=1000, help=f"of {BATCH * WINDOW:,} tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)


def run(options: argparse.Namespace) -> str:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    train, held_out = split_documents(list(read_documents(options.brown)), options.seed)
    tokenizer = train_tokenizer(train)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=WINDOW,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    windows = cut(tokenizer, train)
    fit(model, windows, options.steps, options.seed)
    loss = measure(model, cut(tokenizer, held_out)[: 4 * BATCH])
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    return (
        f"## A model trained from nothing\n\n{options.out}: {options.steps:,} steps of "
        f"{BATCH * WINDOW:,} tokens, {windows.numel():,} different ones; {loss:.2f} nats a token "
        f"on documents that it has not seen."
    )


def train_tokenizer(documents: Sequence[Document]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2's."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator((d.text for d in documents), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=found, bos_token=END, eos_token=END, model_max_length=WINDOW
    )


def cut(tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]) -> Tensor:
    """(n, WINDOW) ids of the documents one after the other, an end between two."""
    ids = [
        token
        for document in documents
        for token in [*tokenizer(document.text)["input_ids"], tokenizer.eos_token_id]
    ]
    whole = len(ids) // WINDOW
    return torch.tensor(ids[: whole * WINDOW]).reshape(whole, WINDOW)


def fit(model: GPT2LMHeadModel, windows: Tensor, steps: int, seed: int) -> None:
    """Trains so many steps, the rate falling to nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    model.train()
    for step, batch in zip(range(steps), _batches(windows, seed), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
        optimizer.zero_grad()
        model(batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def _batches(windows: Tensor, seed: int) -> Iterator[Tensor]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(windows))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            yield windows[order[first : first + BATCH]]


@torch.no_grad()
def measure(model: GPT2LMHeadModel, windows: Tensor) -> float:
    """Mean loss in nats a token."""
    model.eval()
    return float(np.mean([float(model(part, labels=part).loss) for part in windows.split(BATCH)]))
