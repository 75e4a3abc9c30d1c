from __future__ import annotations

import pytest

from polyseme.contract.board.connection import connect_redis
from polyseme.contract.board.sentinels import Sentinels
from polyseme.contract.tickets import connect_queue


def test_a_url_says_where_sentinels_are_and_what_they_watch() -> None:
    found = Sentinels.parse(
        "sentinel://ann:p%40ss%2F1@one:26380,two,[::1]:5/3"
        "?master=jobs&sentinel_user=bob&sentinel_password=s%26cret"
    )

    assert found == Sentinels(
        hosts=(("one", 26380), ("two", 26379), ("::1", 5)),
        master="jobs",
        database=3,
        user="ann",
        password="p@ss/1",
        own_user="bob",
        own_password="s&cret",
    )
    assert Sentinels.parse("sentinel://one?master=jobs") == Sentinels((("one", 26379),), "jobs")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("sentinel://one:1", "master=NAME"),
        ("sentinel:///0?master=jobs", "master=NAME"),
        ("sentinel://one?master=", "master=NAME"),
        ("sentinel://one?master=jobs&tls=true", "knows no tls"),
        ("sentinel://one,,two?master=jobs", "no HOST:PORT"),
        ("sentinel://one:port?master=jobs", "[Pp]ort"),
        ("sentinel://one/first?master=jobs", "first"),
    ],
)
def test_what_is_no_such_url_is_said_at_once(url: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        connect_redis(url)
    with pytest.raises(ValueError, match=wanted):
        connect_queue(url)


def test_the_queue_gets_every_sentinel_with_the_login_of_the_redis() -> None:
    app = connect_queue("sentinel://:p%40ss@one:1,two:2/3?master=jobs&sentinel_password=x")

    assert app.conf.broker_url == "sentinel://:p%40ss@one:1/3;sentinel://:p%40ss@two:2/3"
    assert app.conf.broker_transport_options["master_name"] == "jobs"
    assert app.conf.broker_transport_options["sentinel_kwargs"]["password"] == "x"
