import numpy as np
import pytest

from benchmarks.senses.brown import Document, Word
from benchmarks.senses.families import list_families, list_fields
from benchmarks.senses.occurrences import NONE, WINDOW, classify, cut_windows, find_occurrences
from benchmarks.senses.units import CONTEXTS, draw_places, draw_sizes, find_syntax, half


def make_document(name, words, genre="news"):
    """A text of words and tags, each sentence one word's worth of `opens`."""
    made, start = [], 0
    for form, tag in words:
        made.append(Word(form, tag, start, start + len(form), start == 0))
        start += len(form) + 1
    return Document(name, genre, " ".join(form for form, _ in words), tuple(made))


def tokenize(text):
    """Two characters a token, the blank before a word with its first."""
    starts = np.arange(0, len(text), 2)
    return np.frombuffer(text.encode(), np.uint8)[starts].astype(np.int32), np.stack(
        [starts, np.minimum(starts + 2, len(text))], 1
    )


@pytest.fixture
def found():
    words = [("better", "jjr"), ("plans", "nns"), ("plan", "vb"), ("fail", "vb")] * 20
    documents = [make_document(f"d{i}", words) for i in range(12)]
    return find_occurrences(cut_windows(documents, tokenize), documents)


def test_each_word_is_found_at_its_last_token(found):
    assert set(found.forms.tolist()) == {"better", "plans", "plan", "fail"}
    assert (found.position < WINDOW).all()
    assert len(found.by_form["plan"]) == (found.form == found.forms.tolist().index("plan")).sum()


def test_a_short_rest_of_a_document_is_left_out():
    documents = [make_document("d", [("word", "nn")] * 57)]  # 285 characters, 142 tokens
    windows = cut_windows(documents, tokenize)
    assert windows.ids.shape == (1, WINDOW)
    assert (windows.ids != NONE).all()


def test_a_tag_is_classed_by_its_first_part():
    assert [classify(t) for t in ("nns", "np$", "vbd", "ppss+bez", "jjr", "zzz")] == [
        "noun", "name", "verb", "pronoun", "adjective", "other",
    ]  # fmt: skip


def test_no_two_contexts_of_a_unit_are_of_one_document(found):
    pools = [found.by_form["plan"], found.by_form["fail"]]
    places = draw_places(np.random.default_rng(0), found, pools, np.array([7, 5]))
    assert len(set(found.document[places].tolist())) == 12
    assert set(found.forms[found.form[places[:7]]].tolist()) == {"plan"}


def test_a_unit_that_needs_more_documents_than_there_are_is_not_made(found):
    assert (
        draw_places(np.random.default_rng(0), found, [found.by_form["plan"]], np.array([13]))
        is None
    )


def test_syntax_is_found_by_tag_and_by_place(found):
    kinds = find_syntax(found)
    assert set(found.forms[found.form[kinds["comparatives"]]].tolist()) == {"better"}
    assert len(kinds["sentence starts"]) == 12


@pytest.mark.parametrize("contexts", CONTEXTS)
@pytest.mark.parametrize("concepts", range(1, 7))
def test_sizes_sum_up_and_none_is_tiny(concepts, contexts):
    for seed in range(20):
        sizes = draw_sizes(np.random.default_rng(seed), concepts, contexts)
        assert sizes.sum() == contexts
        assert sizes.min() >= 5


def test_the_splits_share_no_word_but_one():
    development, test = (
        {w for words in list_families(split).values() for w in words}
        for split in ("development", "test")
    )
    assert development & test == {
        "knife"
    }  # kitchenware and weapons; benchmarks/senses/RESULTS.md says so


def test_the_third_set_has_fields_of_its_own_and_no_topics():
    third, others = list_fields("third"), {**list_fields("development"), **list_fields("test")}
    assert not set(third) & set(others)
    assert not set(list_families("third")) & {n for inside in others.values() for n in inside}
    assert half(["a", "b", "c"], "third") == []
