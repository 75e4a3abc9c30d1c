"""Real Redis-protocol servers that keep what they are told, and some that do not."""

from __future__ import annotations

import logging
import time

import pytest
import redis

from polyseme.contract.board.connection import call_patiently, check_durability, connect_redis
from polyseme.contract.errors import UnsafeRedis
from tests.servers import RedisServer


def test_a_durable_server_passes(redis_url: str) -> None:
    check_durability(redis_url, allow_volatile=False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"appendonly": "no"}, "appendonly no"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
    ],
)
def test_a_server_that_would_lose_jobs_is_refused_unless_allowed(
    options: dict[str, str], reason: str
) -> None:
    with RedisServer.running(**options) as found:
        with pytest.raises(UnsafeRedis, match=reason):
            check_durability(found.url, allow_volatile=False)

        check_durability(found.url, allow_volatile=True)


def test_a_cluster_is_refused_whatever_is_allowed() -> None:
    with (
        RedisServer.running(**{"cluster-enabled": "yes"}) as server,
        pytest.raises(UnsafeRedis, match="behind Sentinels"),
    ):
        check_durability(server.url, allow_volatile=True)


def test_a_server_that_may_lose_a_second_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.running(appendfsync="everysec") as found, caplog.at_level(logging.WARNING):
        check_durability(found.url, allow_volatile=False)

    assert "appendfsync everysec" in caplog.text


def test_a_server_that_does_not_tell_is_believed_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with RedisServer.running() as found, caplog.at_level(logging.WARNING):
        connect_redis(found.url).execute_command("ACL", "SETUSER", "default", "-config")
        check_durability(found.url, allow_volatile=False)

    assert "does not tell its configuration" in caplog.text


def test_a_worker_refuses_to_start_on_a_volatile_server() -> None:
    with RedisServer.running(appendonly="no") as found:
        ended = found.run_python("-m", "polyseme.workers")

    assert ended.returncode == 2
    assert "appendonly no" in ended.stderr


def test_a_call_is_made_again_until_redis_is_back() -> None:
    with RedisServer.running() as found:
        client = connect_redis(found.url)
        client.set("key", "kept")
        found.kill()
        waits: list[float] = []

        def wait(seconds: float) -> bool:
            waits.append(seconds)
            if len(waits) == 2:
                found.start()
            return False

        assert call_patiently(lambda: client.get("key"), wait, pause_s=0.01) == "kept"
        assert len(waits) >= 2


def test_a_call_is_given_up_when_told_to() -> None:
    client = redis.Redis(unix_socket_path="/nowhere.sock")

    with pytest.raises(redis.ConnectionError):
        call_patiently(client.ping, lambda seconds: True)


def test_a_cut_connection_is_made_anew_without_anyone_noticing(redis_url: str) -> None:
    client, other = connect_redis(redis_url), connect_redis(redis_url)
    client.set("a", "1")
    number = client.client_id()

    other.client_kill_filter(_id=str(number))

    assert client.get("a") == "1"
    assert client.client_id() != number


def test_a_stopped_server_is_noticed_within_its_time() -> None:
    with RedisServer.running() as found:
        client = connect_redis(found.url)
        client.ping()
        began = time.monotonic()
        with found.stopped(), pytest.raises(redis.TimeoutError):
            client.ping()

    assert 4 < time.monotonic() - began < 8
