from __future__ import annotations

from polyseme.feed import Feed

STREAM = (
    b"retry: 700\n\n"
    b'id: 3\nevent: progress\ndata: {"phase": "scanning"}\n\n'
    b": still here\n\n"
    b'id: 4\r\nevent: ended\r\ndata: {"phase": "ended", "metadata": {"a": "\xe2\x80\xa8b"}}\r\n\r\n'
)


def test_states_come_whole_however_the_stream_is_cut_up() -> None:
    wanted = [{"phase": "scanning"}, {"phase": "ended", "metadata": {"a": "\u2028b"}}]
    for size in (1, 2, 7, len(STREAM)):
        feed = Feed("job_1")
        feed.open()
        assert [
            s for i in range(0, len(STREAM), size) for s in feed.take(STREAM[i : i + size])
        ] == wanted
        assert (feed.has_ended, feed.retry_s) == (True, 0.7)


def test_a_connection_goes_on_after_the_last_whole_event() -> None:
    feed = Feed("job_1")
    assert feed.open().headers == {}
    feed.take(b'id: 3\nevent: progress\ndata: {}\n\nid: 4\nevent: progress\ndata: {"ph')
    assert feed.open().headers == {"Last-Event-ID": "3"}
    assert feed.take(b'id: 5\nevent: ended\ndata: {"n": 5}\n\n') == [{"n": 5}]
    assert feed.has_ended
