from __future__ import annotations

import os
import re
import signal
import socket
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from polyseme.errors import CommandError
from polyseme.stack import stack, supervisor
from polyseme.stack.stack import (
    Options,
    check_port,
    lock_folder,
    resolve_address,
    run_stack,
    settings_for,
)
from tests.client.standins import (
    free_port,
    is_alive,
    read_until,
    run_polyseme,
    running_polyseme,
    wait_until,
    write_standins,
)


@pytest.fixture
def standins(tmp_path: Path) -> Path:
    return write_standins(tmp_path / "standins")


def children_of(pid: int) -> dict[str, int]:
    """The stack's processes by what they run, without one that is just beginning or has just ended.

    One that is just beginning has an empty command line: while it turns from its tether into what
    it runs.
    """
    children = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has been waited for since
            command = Path(f"/proc/{child}/cmdline").read_text()
            name = next(
                (
                    n
                    for n in ("stack.serve", "workers", "sender", "valkey", "redis-server")
                    if n in command
                ),
                None,
            )
            if name:
                children[name] = int(child)
    return children


def all_children_of(pid: int, number: int) -> dict[str, int]:
    """As many as the stack has, as soon as all run."""
    wait_until(lambda: len(children_of(pid)) == number)
    return children_of(pid)


def redis_socket(data: Path) -> Path:
    return Path(urlsplit((data / "redis" / "redis.url").read_text()).path)


def test_up_starts_everything_and_a_signal_stops_it_cleanly(tmp_path: Path, standins: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    with running_polyseme(
        ["up", "--port", str(port), "--data", str(data)], tmp_path, standins
    ) as process:
        output = read_until(process, "Ready: ")
        children = all_children_of(process.pid, 4)
        assert httpx.get(f"http://127.0.0.1:{port}/livez").is_success
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [line.split()[0] for line in output.splitlines()[:3]] == ["redis", "api", "worker-1"]
    assert not any(is_alive(pid) for pid in children.values())
    assert {f.name for f in (data / "logs").iterdir()} == {
        "redis.log",
        "api.log",
        "worker-1.log",
        "sender.log",
    }


def test_the_embedded_redis_is_private_and_durable(tmp_path: Path, standins: Path) -> None:
    data = tmp_path / "data"
    arguments = ["up", "--port", str(free_port()), "--data", str(data)]
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
        path = redis_socket(data)
        with redis.Redis(unix_socket_path=str(path), decode_responses=True) as server:
            config = server.config_get("*")
            server.set("kept", "yes")
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        process.kill()
    wanted = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }
    assert {k: config[k] for k in wanted} == wanted
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
        path = redis_socket(data)
        with redis.Redis(unix_socket_path=str(path), decode_responses=True) as server:
            assert server.get("kept") == "yes"


@pytest.mark.skipif(not Path("/proc").exists(), reason="the tether is Linux's")
def test_children_die_with_a_killed_supervisor(tmp_path: Path, standins: Path) -> None:
    arguments = ["up", "--port", str(free_port()), "--data", str(tmp_path / "data")]
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
        children = all_children_of(process.pid, 4)
        process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in children.values()))


def test_a_dead_worker_is_reported_and_started_again(tmp_path: Path, standins: Path) -> None:
    arguments = ["up", "--port", str(free_port()), "--data", str(tmp_path / "data")]
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
        first = children_of(process.pid)["workers"]
        os.kill(first, signal.SIGKILL)
        output = read_until(process, "starts again in 1 s")
        wait_until(lambda: children_of(process.pid).get("workers", first) != first)
    assert "worker-1 was killed by SIGKILL" in output
    assert f"a worker, process {first}" in output


@pytest.mark.parametrize(("victim", "name"), [("stack.serve", "api"), ("valkey", "redis")])
def test_a_dead_api_or_redis_is_started_again_and_nothing_is_lost(
    tmp_path: Path, standins: Path, victim: str, name: str
) -> None:
    port, data = free_port(), tmp_path / "data"
    with running_polyseme(
        ["up", "--port", str(port), "--data", str(data)], tmp_path, standins
    ) as process:
        read_until(process, "Ready: ")
        with redis.Redis(unix_socket_path=str(redis_socket(data))) as server:
            server.set("kept", "yes")
        children = all_children_of(process.pid, 4)
        os.kill(children.get(victim) or children["redis-server"], signal.SIGKILL)
        output = read_until(process, f"{name} starts again in 1 s (1 of at most 8 times)")
        read_until(process, f"{name:<9} ready after")
        with redis.Redis(unix_socket_path=str(redis_socket(data))) as server:
            assert server.get("kept") == b"yes"
        assert httpx.get(f"http://127.0.0.1:{port}/livez").is_success
        survivors = all_children_of(process.pid, 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert f"{name} was killed by SIGKILL" in output
    assert len(set(survivors.values()) & set(children.values())) == 3


def test_an_api_that_keeps_dying_ends_the_stack(
    tmp_path: Path, standins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that it is ready it is killed."""
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.1, 0.1))
    seen: dict[str, int] = {}

    def kill(line: str = "api ready") -> None:
        if line.startswith("api") and "ready" in line:
            seen.update(children_of(os.getpid()))
            os.kill(seen["stack.serve"], signal.SIGKILL)

    options = Options(tmp_path / "data", port=free_port())
    environ = dict(os.environ) | {"PYTHONPATH": str(standins)}
    with pytest.raises(
        CommandError, match=r"api was killed by SIGKILL(.|\n)*ended 3 times in a row"
    ):
        run_stack(options, environ, lambda line: kill(line) if seen else None, on_ready=kill)
    assert len(seen) == 4
    assert not any(is_alive(pid) for pid in seen.values())


def test_a_worker_that_cannot_start_ends_the_stack(tmp_path: Path, standins: Path) -> None:
    (standins / "polyseme/workers/__main__.py").write_text(
        "raise SystemExit('no such device: cuda:7')"
    )
    done = run_polyseme(
        ["up", "--port", str(free_port()), "--data", str(tmp_path / "data")], tmp_path, standins
    )
    assert done.returncode == 1
    assert "worker-1 exited with code 1" in done.stderr
    assert "no such device: cuda:7" in done.stderr


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path, standins: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_polyseme(
            ["up", "--port", str(port), "--data", str(tmp_path / "data")], tmp_path, standins
        )
    assert done.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert not list((tmp_path / "data" / "logs").iterdir())


def test_a_second_stack_on_the_same_folder_is_refused(tmp_path: Path, standins: Path) -> None:
    data, port = tmp_path / "data", free_port()
    with running_polyseme(
        ["up", "--port", str(port), "--data", str(data)], tmp_path, standins
    ) as process:
        read_until(process, "Ready: ")
        done = run_polyseme(
            ["up", "--port", str(free_port()), "--data", str(data)], tmp_path, standins
        )
        assert done.returncode == 2
        assert re.search(
            rf"in use by process {process.pid}, at http://127.0.0.1:{port}", done.stderr
        )
        assert process.poll() is None


def test_a_lock_that_a_dead_process_left_does_not_count(tmp_path: Path) -> None:
    options = Options(tmp_path)
    (tmp_path / "up.lock").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}')
    with (
        lock_folder(options),
        pytest.raises(CommandError, match=f"process {os.getpid()}"),
        lock_folder(options),
    ):
        pass


def test_a_folder_whose_lock_file_was_removed_is_still_held(tmp_path: Path) -> None:
    options = Options(tmp_path)
    with lock_folder(options):
        (tmp_path / "up.lock").unlink()
        with pytest.raises(CommandError, match="is in use"), lock_folder(options):
            pass
    with lock_folder(options):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_an_address_that_others_reach_is_none_of_this_machine_alone(host: str) -> None:
    assert not resolve_address(host, 8000).is_local


def test_an_address_that_others_reach_is_refused_until_there_is_a_key(
    tmp_path: Path, standins: Path
) -> None:
    data, port = tmp_path / "data", free_port()
    arguments = ["up", "--host", "0.0.0.0", "--port", str(port), "--data", str(data)]
    refused = run_polyseme(arguments, tmp_path, standins)
    run_polyseme(["keys", "create", "--data", str(data)], tmp_path, standins)
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
    assert refused.returncode == 2
    assert "there is no API key" in refused.stderr
    assert f"polyseme keys create --data {data}" in refused.stderr


def test_localhost_is_accepted() -> None:
    address = resolve_address("localhost", free_port())
    check_port(address)
    assert address.is_local
    assert address.host in ("127.0.0.1", "::1")


def test_a_redis_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, standins: Path
) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    arguments = [
        "up",
        "--port",
        str(free_port()),
        "--data",
        str(tmp_path / "data"),
        "--redis-url",
        url,
    ]
    done = run_polyseme(arguments, tmp_path, standins)
    assert done.returncode == 1
    assert "No Redis answers at 127.0.0.1:" in done.stderr
    assert "secret" not in done.stderr


def test_a_given_redis_is_used_and_none_is_started(
    tmp_path: Path, standins: Path, redis_url: str
) -> None:
    arguments = [
        "up",
        "--port",
        str(free_port()),
        "--data",
        str(tmp_path / "data"),
        "--redis-url",
        redis_url,
    ]
    with running_polyseme(arguments, tmp_path, standins) as process:
        read_until(process, "Ready: ")
        assert set(all_children_of(process.pid, 3)) == {"stack.serve", "workers", "sender"}
    with redis.Redis.from_url(redis_url) as server:
        assert server.zcard("polyseme:workers") == 1


def test_settings_come_from_options_then_environment_then_the_folder(tmp_path: Path) -> None:
    options = Options(tmp_path, catalogue=tmp_path / "mine.toml")
    settings = settings_for(options, {"POLYSEME_CACHE": "/elsewhere", "POLYSEME_CATALOGUE": "/no"})
    assert settings.store == str(tmp_path / "store")
    assert settings.cache == "/elsewhere"
    assert settings.catalogue == str(tmp_path / "mine.toml")


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="POLYSEME_THREADS='many'"):
        settings_for(Options(tmp_path), {"POLYSEME_THREADS": "many"})


def test_each_worker_has_a_metrics_port_of_its_own_when_one_was_asked_for(tmp_path: Path) -> None:
    options = Options(tmp_path, workers=3)

    def ports(environ: dict[str, str]) -> list[str | None]:
        members = stack._worker_members(options, environ, "redis://127.0.0.1:1")
        return [m.child.spec.environ.get("POLYSEME_METRICS_PORT") for m in members]

    assert ports({"POLYSEME_METRICS_PORT": "9100"}) == ["9100", "9101", "9102"]
    assert ports({"POLYSEME_METRICS_PORT": "0"}) == ["0", "0", "0"]
