"""Are planted neurons told apart, through the whole service?

Rows are fitted to known families, the job is posted over HTTP, and what came back is scored.
In three layers of a real model some neurons are made to fire for the words of one to five families
(`planting`), on documents other than those analysed. The job is an ordinary one with default
options but for the number of contexts. What counts as true is what a neuron's kept contexts hold: a
family is present when it has enough contexts to be a sense. `ρ true, planted` says how far that
truth itself follows the number planted: one family may keep others out of the kept contexts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.markdown import table
from benchmarks.senses.brown import Document, read_documents
from benchmarks.senses.families import SPLITS, Families, list_families, list_fields
from benchmarks.senses.metrics import rank_correlation
from benchmarks.senses.passages import (
    count_families,
    draw_passages,
    family_names,
    read_passages,
    split_documents,
    word_at,
    write_passages,
)
from benchmarks.stack import HOST, running_stack
from polyseme import Polyseme
from polyseme.contract.files.results import report_file
from polyseme.contract.records.request import Contexts

MODEL = "planted"
CORPUS = "brown-passages"
LAYERS = (4, 12, 20)
NEURONS = 25  # a layer
MOST_FAMILIES = 5  # of one neuron
RATIO = 4.0  # the commonest of a neuron's families is at most so many times as common as its rarest
COUNTS = range(
    300, 2001
)  # words of a family in the whole corpus: rarer ones are not found, commoner ones drown others
FIT_WORDS, FIT_PASSAGES = 40_000, 30  # of the fit, in all and a family
WORDS, PASSAGES = 53_500, 24  # of the analysis, likewise: about 60,000 tokens
QUICK_WORDS = 12_000  # of either
LEAST_CONTEXTS = 4  # of a family that is present; no less than LEAST_SHARE of the neuron's contexts
LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Planted:
    layer: int
    neuron: int
    families: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted, and the passages that were analysed."""

    families: Families
    planted: tuple[Planted, ...]
    passages: tuple[Document, ...]

    def write(self, folder: Path) -> None:
        kept = {"families": self.families, "planted": [asdict(p) for p in self.planted]}
        (folder / "truth.json").write_text(json.dumps(kept), encoding="utf-8")
        write_passages(folder / "passages.jsonl", self.passages)

    @classmethod
    def read(cls, folder: Path) -> Truth:
        kept = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        planted = tuple(
            Planted(p["layer"], p["neuron"], tuple(p["families"])) for p in kept["planted"]
        )
        families = {name: tuple(forms) for name, forms in kept["families"].items()}
        return cls(families, planted, tuple(read_passages(folder / "passages.jsonl")))


@dataclass(frozen=True)
class Scored:
    """One planted neuron: what is true of its contexts, and what the service said."""

    layer: int
    neuron: int
    planted: int  # families
    contexts: int
    on_words: float  # 0..1, contexts whose peak stands on a planted word or another form of it
    present: int  # families with enough contexts
    effective: float  # 1 / sum p², p the present families' shares of their activation
    status: str
    sense_count: int | None
    sure_count: int | None
    effective_senses: float | None
    coverage: float | None
    # senses against families, contexts of present families, unassigned ones as one more sense
    ari: float | None
    ari_assigned: float | None  # the same without the unassigned


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, help="for the model, the truth and the service's data"
    )
    parser.add_argument("--brown", type=Path, help="the corpus' folder")
    parser.add_argument("--model", type=Path, help="a folder with SmolLM2-135M as safetensors")
    parser.add_argument("--split", choices=SPLITS, default="test", help="of the families")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--most", type=int, default=MOST_FAMILIES, help="families of one neuron; 1: only such"
    )
    parser.add_argument("--top-k", type=int, default=Contexts.top_k)
    parser.add_argument("--sampled", type=int, default=Contexts.sampled)
    parser.add_argument(
        "--score",
        type=Path,
        action="append",
        help="a result folder; nothing is planted or analysed",
    )
    parser.add_argument("--quick", action="store_true", help="one layer, little text")


def run(options: argparse.Namespace) -> str:
    results = options.score
    if not results:
        options.out.mkdir(parents=True, exist_ok=True)
        planted = (options.out / "truth.json").exists()
        truth = Truth.read(options.out) if planted else plant_all(options)
        contexts = Contexts(top_k=options.top_k, sampled=options.sampled)
        results = [analyse(options.out, truth, contexts)]
    truth = Truth.read(options.out)
    tables = [f"{result}\n\n{report(score_folder(result, truth))}" for result in results]
    return "\n\n".join(["## Planted neurons", *tables])


def draw_planted(
    fields: Mapping[str, Families],
    counts: Counter[str],
    layers: Sequence[int],
    seed: int,
    most: int = MOST_FAMILIES,
) -> list[Planted]:
    """As many neurons with one family as with two, and so on up to `most`."""
    rng = np.random.default_rng(seed)
    neurons = sorted(rng.choice(1000, NEURONS, replace=False).tolist())
    return [
        Planted(layer, neuron, draw_families(fields, counts, 1 + i % most, rng))
        for layer in layers
        for i, neuron in enumerate(neurons)
    ]


def draw_families(
    fields: Mapping[str, Families], counts: Counter[str], wanted: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Families of different fields that are about equally common."""
    while True:
        chosen = rng.choice(list(fields), wanted, replace=False)
        names = [str(rng.choice(list(fields[field]))) for field in chosen]
        found = [counts[name] for name in names]
        if max(found) <= RATIO * min(found):
            return tuple(names)


def usable_fields(split: str, counts: Counter[str]) -> dict[str, Families]:
    """The fields of a split with those of their families that are neither too rare nor too
    common.
    """
    fields = {
        field: {name: forms for name, forms in families.items() if counts[name] in COUNTS}
        for field, families in list_fields(split).items()
    }
    return {field: families for field, families in fields.items() if families}


# Planting


def plant_all(options: argparse.Namespace) -> Truth:
    """Writes the model with planted neurons, and what is true of it, into the folder of --out."""
    documents, seed = list(read_documents(options.brown)), options.seed
    counts = count_families(documents, list_families(options.split))
    fields = usable_fields(options.split, counts)
    families = {name: forms for inside in fields.values() for name, forms in inside.items()}
    fit, rest = split_documents(documents, seed)
    layers, words = (LAYERS[:1], QUICK_WORDS) if options.quick else (LAYERS, WORDS)
    planted = draw_planted(fields, counts, layers, seed, options.most)
    fitted = draw_passages(fit, min(words, FIT_WORDS), seed, families, FIT_PASSAGES)
    write_model(options.out / "model", options.model, planted, families, fitted)
    passages = draw_passages(rest, words, seed, families, PASSAGES)
    truth = Truth(families, tuple(planted), tuple(passages))
    truth.write(options.out)
    return truth


def write_model(
    target: Path,
    source: Path,
    planted: Sequence[Planted],
    families: Families,
    passages: Sequence[Document],
) -> None:
    """Fits the rows to the passages and saves the changed model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from benchmarks.senses.planting import fit_neurons, plant, read_inputs

    torch.set_num_threads(1)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    layers = sorted({p.layer for p in planted})
    inputs = read_inputs(model, tokenizer, passages, families, layers)
    numbers = {name: i for i, name in enumerate(families)}
    for layer in layers:
        here = [p for p in planted if p.layer == layer]
        gates, ups = fit_neurons(inputs, layer, [[numbers[f] for f in p.families] for p in here])
        plant(model, layer, [p.neuron for p in here], gates, ups)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


# The service


def analyse(folder: Path, truth: Truth, contexts: Contexts) -> Path:
    """Posts the job to a stack of its own, waits for it, and gives the folder of its result."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    model = json.dumps(str((folder / "model").resolve()))
    (data / "models.toml").write_text(
        f'[[models]]\nid = "{MODEL}"\npath = {model}\n', encoding="utf-8"
    )
    with running_stack(data, MODEL) as port, Polyseme(f"http://{HOST}:{port}") as client:
        _add_corpus(client, truth.passages)
        job = client.wait(client.submit(make_request(truth, contexts)))
    if not job.succeeded:
        raise RuntimeError(f"the job {job.status}: {job.error}")
    return data / "store/results" / job.id


def make_request(truth: Truth, contexts: Contexts) -> dict[str, Any]:
    """The planted neurons with so many contexts; everything else at its default."""
    layers = sorted({p.layer for p in truth.planted})
    neurons = sorted({p.neuron for p in truth.planted})
    chosen: dict[str, Any] = {"neurons": {"layers": layers, "indices": neurons}}
    chosen["contexts"] = {"top_k": contexts.top_k, "sampled": contexts.sampled}
    return {"model": MODEL, "corpus": {"id": CORPUS}, "reuse": False} | chosen


def _add_corpus(client: Polyseme, passages: Sequence[Document]) -> None:
    if any(c.id == CORPUS for c in client.corpora()):
        return
    corpus = client.add_corpus(
        (json.dumps({"text": p.text}).encode() + b"\n" for p in passages), name=CORPUS
    )
    # Else a context's document would not be the passage of that number.
    if corpus.documents != len(passages):
        raise RuntimeError(f"{len(passages)} passages became {corpus.documents} documents")


# Scores


def score_folder(result: Path, truth: Truth) -> list[Scored]:
    """Every planted neuron of a result folder, as a job or a regrouping left it."""
    starts = [np.array([w.start for w in p.words]) for p in truth.passages]
    names = stemmed_names(truth.families)
    found = []
    for layer in sorted({p.layer for p in truth.planted}):
        rows = {r["neuron"]: r for r in pq.read_table(result / report_file(layer)).to_pylist()}
        for planted in (p for p in truth.planted if p.layer == layer):
            row = rows[planted.neuron]
            families = [
                _family_of(c, truth, starts, names, planted.families) for c in every_context(row)
            ]
            found.append(score_neuron(planted, row, families))
    return found


def every_context(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that are shown, and those kept as evidence alone."""
    return [*row["contexts"], *row["evidence"]]


def _family_of(
    context: Mapping[str, Any],
    truth: Truth,
    starts: Sequence[np.ndarray],
    names: Mapping[str, str],
    own: Sequence[str],
) -> int:
    """Which of the neuron's families has the word at the peak; -1 for none."""
    document = context["document"]
    word = word_at(truth.passages[document].words, starts[document], context["char_end"])
    name = names.get(word.form) or names.get(stem(word.form)) if word else None
    return own.index(name) if name in own else -1


def stemmed_names(families: Families) -> dict[str, str]:
    """The family of each word form and, where no form is spelled so, of each stem: a neuron fires
    for those too.
    """
    names = family_names(families)
    return {stem(form): name for form, name in reversed(names.items())} | names


def stem(form: str) -> str:
    """The form without a common ending, where three letters are left."""
    form = form.removesuffix("'s")
    ending = next(
        (e for e in ("ing", "ed", "s") if form.endswith(e) and len(form) >= len(e) + 3), ""
    )
    return form.removesuffix(ending)


def score_neuron(planted: Planted, row: Mapping[str, Any], families: Sequence[int]) -> Scored:
    """families: of each context, -1 where the peak stands on no planted word."""
    contexts = every_context(row)
    family, sense = (
        np.array(families),
        np.array([-1 if c["sense"] is None else c["sense"] for c in contexts]),
    )
    activation = np.array([c["activation"] for c in contexts])
    least = max(LEAST_CONTEXTS, LEAST_SHARE * len(contexts))
    present = [f for f in range(len(planted.families)) if (family == f).sum() >= least]
    mass = np.array([activation[family == f].sum() for f in present])
    inside = np.isin(family, present)
    return Scored(
        layer=planted.layer,
        neuron=planted.neuron,
        planted=len(planted.families),
        contexts=len(contexts),
        on_words=float((family >= 0).mean()) if len(contexts) else 0.0,
        present=len(present),
        effective=effective_number(mass),
        status=row["status"],
        sense_count=row["sense_count"],
        sure_count=row["sure_count"],
        effective_senses=row["effective_senses"],
        coverage=row["coverage"],
        ari=adjusted_rand(family[inside], sense[inside]),
        ari_assigned=adjusted_rand(family[inside & (sense >= 0)], sense[inside & (sense >= 0)]),
    )


def effective_number(mass: np.ndarray) -> float:
    """1 / sum p² of the shares p; 0 without mass."""
    squares = float(np.square(mass).sum())
    return float(mass.sum()) ** 2 / squares if squares else 0.0


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float | None:
    """Agreement of two labellings: 1 the same, about 0 by chance;

    None without items. Source: Hubert & Arabie 1985.
    """
    if not len(a):
        return None
    cells = np.zeros((a.max() + 2, b.max() + 2))
    np.add.at(cells, (a, b), 1)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, one, other, every = (
        pairs(cells),
        pairs(cells.sum(1)),
        pairs(cells.sum(0)),
        pairs(np.array([len(a)])),
    )
    chance = one * other / every if every else 0.0
    most = (one + other) / 2
    return 1.0 if most == chance else (both - chance) / (most - chance)


# The tables


def report(scored: Sequence[Scored]) -> str:
    """The figures of one result, by layer and together; then what was said by the number
    planted.
    """
    layers = sorted({s.layer for s in scored})
    parts = [(f"layer {layer}", [s for s in scored if s.layer == layer]) for layer in layers]
    header = [
        "",
        "neurons",
        "scored",
        "count exact",
        "error",
        "sure senses exact",
        "one family in several senses",
        "one family polysemantic",
        "several polysemantic",
        "one monosemantic",
        "ρ true effective",
        "ρ planted",
        "ρ true, planted",
    ]
    header += ["ARI", "ARI, assigned", "on planted words", "coverage"]
    by_layer = table(
        header, [[name, *_figures(part)] for name, part in [*parts, ("all", list(scored))]]
    )
    return "\n\n".join([by_layer, _by_planted(scored)])


def _figures(scored: Sequence[Scored]) -> list[str]:
    told = [s for s in scored if s.effective_senses is not None]
    counted = [s for s in scored if s.sense_count is not None]
    said = [s.effective_senses for s in told if s.effective_senses is not None]
    missed = [abs((s.sense_count or 0) - s.present) for s in counted]
    sure = [s.sure_count == s.present for s in counted]
    one, several = ([s for s in scored if (s.present > 1) == many] for many in (False, True))
    one = [s for s in one if s.present]
    return [
        str(len(scored)),
        str(len(told)),
        _mean([m == 0 for m in missed]),
        _mean(missed),
        _mean(sure),
        _mean([(s.sense_count or 0) > 1 for s in one]),
        _mean([s.status == "polysemantic" for s in one]),
        _mean([s.status == "polysemantic" for s in several]),
        _mean([s.status == "monosemantic" for s in one]),
        _number(rank_correlation(said, [s.effective for s in told])),
        _number(rank_correlation(said, [s.planted for s in told])),
        _number(rank_correlation([s.effective for s in scored], [s.planted for s in scored])),
        _mean([s.ari for s in scored if s.ari is not None]),
        _mean([s.ari_assigned for s in scored if s.ari_assigned is not None]),
        _mean([s.on_words for s in scored]),
        _mean([s.coverage for s in scored if s.coverage is not None]),
    ]


def _by_planted(scored: Sequence[Scored]) -> str:
    header = [
        "families planted",
        "present",
        "true effective",
        "effective senses",
        "sense count",
        "statuses",
    ]
    rows = []
    for planted in sorted({s.planted for s in scored}):
        part = [s for s in scored if s.planted == planted]
        said = [s.effective_senses for s in part if s.effective_senses is not None]
        statuses = ", ".join(
            f"{n} {name}" for name, n in Counter(s.status for s in part).most_common()
        )
        means: list[list[Any]] = [
            [s.present for s in part],
            [s.effective for s in part],
            said,
            [s.sense_count or 0 for s in part],
        ]
        rows.append([str(planted), *map(_mean, means), statuses])
    return table(header, rows)


def _mean(values: Sequence[Any]) -> str:
    return _number(np.mean(values)) if values else "-"


def _number(value: Any) -> str:
    return f"{value:.2f}"
