"""The agreement on a result's files."""

from __future__ import annotations

from polyseme.contract.files.results import (
    BINS,
    REPORTS,
    SCALARS,
    ZERO_BIN,
    histogram_edges,
    report_file,
)


def test_the_bins_mirror_each_other_around_zero() -> None:
    edges = histogram_edges()

    assert len(edges) == BINS + 1 == 258
    assert edges == sorted(edges) == [-e for e in reversed(edges)]
    assert edges[ZERO_BIN] == edges[ZERO_BIN + 1] == 0
    assert (edges[-1], edges[-2]) == (65536, 57344)
    assert edges[ZERO_BIN + 2] == 1.25 * 2**-16


def test_reports_have_every_scalar_but_what_only_a_search_needs() -> None:
    assert set(SCALARS.names) - set(REPORTS.names) == {"peak_token_ids", "peak_texts"}
    assert report_file(3) == "reports/layer-003.parquet"
