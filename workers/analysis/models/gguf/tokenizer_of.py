"""The tokenizer of a GGUF file, as a tokenizer.json with its settings."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers.tokenization_utils_base import generate_merges

from polyseme.workers.analysis.models.gguf.gguf_file import GgufFile
from polyseme.workers.analysis.models.gguf.splits import find_splitting

# Kinds of tokens, as llama.cpp numbers them
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_USUAL_IDS = {"unk": 0, "bos": 1, "eos": 2}  # of SentencePiece, where the file does not say
_GEMMA = ("gemma", "gemma2", "gemma3")


def read_tokenizer_of(file: GgufFile) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer and what its tokenizer_config.json says.

    Raises ValueError for a vocabulary of a kind, or a way of splitting, that is not known.
    """
    kind = file.get("tokenizer.ggml.model")
    file.only("tokenizer.ggml.remove_extra_whitespaces", False)
    file.only("tokenizer.ggml.add_sep_token", False)
    file.only("tokenizer.ggml.precompiled_charsmap", [])
    tokens: list[str] = file.get("tokenizer.ggml.tokens", [])
    types: list[int] = file.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    if kind == "gpt2":
        tokenizer, begins = _byte_level(file, tokens)
    elif kind == "llama":
        tokenizer, begins = _sentence_pieces(file, tokens, types), True
    else:
        raise ValueError(f"its tokenizer is of the kind {kind!r}; gpt2 and llama are supported")
    _add_tokens(tokenizer, tokens, types)
    usual = _USUAL_IDS if kind == "llama" else {}
    ids = {
        role: file.get(f"tokenizer.ggml.{name}_token_id", usual.get(role))
        for role, name in _ROLES.items()
    }
    names = {role: tokens[i] for role, i in ids.items() if i is not None and i < len(tokens)}
    _frame(tokenizer, _added(file, names, "bos", begins), _added(file, names, "eos", False))
    settings = {f"{role}_token": name for role, name in names.items()}
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"} | settings


def _added(file: GgufFile, names: dict[str, str], role: str, usual: bool) -> str | None:
    """The token that is put before or behind a text."""
    if not file.get(f"tokenizer.ggml.add_{role}_token", usual):
        return None
    if role not in names:
        raise ValueError(f"its texts have a {role.upper()} token, but it does not say which")
    return names[role]


def _byte_level(file: GgufFile, tokens: list[str]) -> tuple[Tokenizer, bool]:
    """And whether a text begins with BOS where the file does not say."""
    splitting = find_splitting(file.get("tokenizer.ggml.pre"))
    file.only("tokenizer.ggml.add_space_prefix", False)
    file.get("tokenizer.ggml.scores")  # merges count
    vocabulary = _number(tokens)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=_merges(file), ignore_merges=splitting.whole_words)
    )
    if splitting.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitting.make()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, splitting.bos


def _sentence_pieces(file: GgufFile, tokens: list[str], types: list[int]) -> Tokenizer:
    """Pairs are merged by the score of what they make; what is no token falls apart into bytes."""
    file.only("tokenizer.ggml.pre", "default")
    scores: list[float] = file.get("tokenizer.ggml.scores", [])
    # A run of spaces may stand in the list as spaces.
    pieces = [token.replace(" ", "▁") for token in tokens]
    if file.architecture in _GEMMA:
        # Its scores are not those of its merges, which are in the order of its tokens.
        scores = [-float(i) for i in range(len(pieces))]
    by_score = dict(zip(pieces, scores, strict=True))
    vocabulary = _number(pieces)
    unknown = file.get("tokenizer.ggml.unknown_token_id")
    apart = (_UNKNOWN, _CONTROL, _BYTE)
    unmerged = {piece for piece, kind in zip(pieces, types, strict=True) if kind in apart}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(file) or generate_merges(vocabulary, by_score, unmerged),
            unk_token=None if unknown is None else pieces[unknown],
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    spaces = normalizers.Replace(" ", "▁")
    if file.get("tokenizer.ggml.add_space_prefix", True):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
        strip = [decoders.Strip(" ", 1, 0)]
    else:
        tokenizer.normalizer, strip = spaces, []
    plain = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*plain, *strip])
    return tokenizer


def _merges(file: GgufFile) -> list[tuple[str, str]]:
    pairs: list[str] = file.get("tokenizer.ggml.merges", [])
    return [(left, right) for left, _, right in (pair.partition(" ") for pair in pairs)]


def _number(tokens: list[str]) -> dict[str, int]:
    """Raises ValueError when two ids would have one text."""
    found = {token: i for i, token in enumerate(tokens)}
    if len(found) != len(tokens):
        raise ValueError("two tokens of its vocabulary have the same text")
    return found


def _add_tokens(tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    """Control tokens as special ones, and the user's own, which are found in a text before all
    else.
    """
    control = [t for t, kind in zip(tokens, types, strict=True) if kind in (_UNKNOWN, _CONTROL)]
    vocabulary = tokenizer.get_vocab()
    added = [
        token
        for token, kind in zip(tokens, types, strict=True)
        if kind == _USER_DEFINED and token in vocabulary
    ]
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in added])


def _frame(tokenizer: Tokenizer, begin: str | None, end: str | None) -> None:
    around = {token for token in (begin, end) if token is not None}
    if around:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*([begin] if begin else []), "$A", *([end] if end else [])],
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in sorted(around)],
        )
