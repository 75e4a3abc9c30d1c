"""A Redis with a replica and three Sentinels, on this machine's ports."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.client.standins import free_port
from tests.conftest import find_redis_server

MASTER = "polyseme"
PASSWORD = "p@ss/word:1"
SENTINEL_PASSWORD = "s&cret"
_DOWN_MS = 1000  # without an answer, after which a Sentinel takes the master for dead

_REDIS = f"""
port {{port}}
bind 127.0.0.1
dir {{folder}}
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
requirepass {PASSWORD}
masterauth {PASSWORD}
"""
_SENTINEL = f"""
port {{port}}
bind 127.0.0.1
dir {{folder}}
requirepass "{SENTINEL_PASSWORD}"
sentinel monitor {MASTER} 127.0.0.1 {{master}} 2
sentinel auth-pass {MASTER} {PASSWORD}
sentinel down-after-milliseconds {MASTER} {_DOWN_MS}
sentinel failover-timeout {MASTER} 4000
"""


class WatchedRedis:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}  # by port
        self.redis_ports = [free_port(), free_port()]
        self.sentinel_ports = [free_port() for _ in range(3)]

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[WatchedRedis]:
        with tempfile.TemporaryDirectory(prefix="ps-") as folder, ExitStack() as stack:
            found = cls(Path(folder))
            stack.callback(found.kill_all)
            found.start()
            yield found

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"sentinel://:p%40ss%2Fword%3A1@{hosts}/0?master={MASTER}&sentinel_password=s%26cret"

    def start(self) -> None:
        first, second = self.redis_ports
        self._start(first, _REDIS)
        self._start(second, f"{_REDIS}replicaof 127.0.0.1 {first}\n")
        await_answer(lambda: self.client(second).info("replication")["master_link_status"] == "up")
        for port in self.sentinel_ports:
            self._start(port, _SENTINEL, "--sentinel", master=first)
        await_answer(self._know_each_other)

    def _start(self, port: int, text: str, *options: str, **values: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        config = folder / "redis.conf"
        config.write_text(text.format(port=port, folder=folder, **values))
        command = [find_redis_server(), str(config), *options]
        self._processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        await_answer(self.client(port).ping)

    def client(self, port: int) -> redis.Redis:
        secret = SENTINEL_PASSWORD if port in self.sentinel_ports else PASSWORD
        return redis.Redis(port=port, password=secret, decode_responses=True)

    def _know_each_other(self) -> bool:
        states = [self.client(p).sentinel_master(MASTER) for p in self.sentinel_ports]
        return all(
            s["num-other-sentinels"] == len(self.sentinel_ports) - 1 and s["num-slaves"] == 1
            for s in states
        )

    @property
    def master(self) -> int:
        """The port of the Redis that most Sentinels name now."""
        named = [int(self.client(p).sentinel_master(MASTER)["port"]) for p in self.sentinel_ports]
        return max(named, key=named.count)

    def await_copy(self) -> None:
        """Until the replica has what the master has acknowledged by now."""
        [replica] = set(self.redis_ports) - {self.master}
        written = self.client(self.master).info("replication")["master_repl_offset"]
        await_answer(
            lambda: self.client(replica).info("replication")["slave_repl_offset"] >= written
        )

    def kill_master(self) -> int:
        """With -9; returns its port."""
        port = self.master
        self._processes[port].kill()
        self._processes[port].wait()
        return port

    def kill_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


def await_answer(ask: object, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if ask():  # type: ignore[operator]
                return
        except (redis.RedisError, KeyError):
            pass
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)
