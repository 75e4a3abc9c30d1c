from __future__ import annotations

import time

import pytest

from polyseme.contract.errors import BadCursor, ExpiredCursor
from polyseme.service.http.cursors import Cursors

QUERY = {"sort": "-max"}


def test_a_cursor_gives_back_its_position() -> None:
    cursors = Cursors("secret")

    assert cursors.open(cursors.seal("job_1", QUERY, 100), "job_1", QUERY) == 100


def test_a_cursor_of_another_job_or_another_query_is_refused() -> None:
    cursors = Cursors("secret")
    cursor = cursors.seal("job_1", QUERY, 100)

    with pytest.raises(BadCursor, match="belongs to job_1"):
        cursors.open(cursor, "job_2", QUERY)
    with pytest.raises(BadCursor, match="other filters"):
        cursors.open(cursor, "job_1", {"sort": "max"})


@pytest.mark.parametrize("cursor", ["", "abc", "a.b.c", "é", "x" * 5000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        Cursors("secret").open(cursor, "job_1", QUERY)


def test_a_changed_or_foreign_cursor_is_refused() -> None:
    cursor = Cursors("secret").seal("job_1", QUERY, 100)

    for forged in (
        # Not the last character, of whose bits base64 leaves some unused.
        cursor[:-9] + ("A" if cursor[-9] != "A" else "B") + cursor[-8:],
        "X" + cursor[1:],
        Cursors("other").seal("job_1", QUERY, 1),
    ):
        with pytest.raises(BadCursor):
            Cursors("secret").open(forged, "job_1", QUERY)


def test_an_old_cursor_has_expired() -> None:
    cursors = Cursors("secret", lifetime_s=0)
    cursor = cursors.seal("job_1", QUERY, 100)
    time.sleep(1.1)  # the signature's clock has whole seconds

    with pytest.raises(ExpiredCursor):
        cursors.open(cursor, "job_1", QUERY)
