from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyseme.commands.doctor import Place, check_catalogue, check_redis, check_service, check_store
from tests.client.standins import free_port, run_polyseme
from tests.client.wire import Answer, Wire
from tests.servers import RedisServer


def place(folder: Path, **changed: str | None) -> Place:
    url = changed.get("url") or f"http://127.0.0.1:{free_port()}"
    return Place(
        folder, folder / "models.toml", changed.get("redis_url"), url, None, str(folder / "store")
    )


def test_each_check_is_a_line_of_json_and_one_that_fails_is_exit_code_1(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    done = run_polyseme(["doctor", "--data", "nowhere", "--url", url, "--json"], tmp_path)

    checks = {c["name"]: c for c in map(json.loads, done.stdout.splitlines())}
    assert set(checks) >= {
        "python",
        "torch",
        "redis",
        "catalogue",
        "store",
        "disk",
        "service",
    }
    assert [name for name, check in checks.items() if not check["ok"]] == ["catalogue"], done.stdout
    assert "polyseme models add" in checks["catalogue"]["remedy"]
    assert (done.returncode, done.stderr) == (1, "1 of 9 checks failed.\n")


def test_a_model_that_has_gone_is_found(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[[models]]\nid = "m"\npath = "gone"\n')

    check = check_catalogue(tmp_path / "models.toml")

    assert (check.ok, "of m" in check.detail) == (False, True)


def test_a_redis_that_would_lose_jobs_is_wrong(tmp_path: Path) -> None:
    with RedisServer.running(appendonly="no") as volatile:
        check = check_redis(place(tmp_path, redis_url=volatile.url))
    gone = check_redis(place(tmp_path, redis_url=volatile.url))

    assert not check.ok
    assert "appendonly" in check.remedy
    assert "no answer" in gone.detail


def test_a_redis_that_keeps_jobs_is_fine(tmp_path: Path, redis_url: str) -> None:
    with RedisServer.running() as durable:
        assert check_redis(place(tmp_path, redis_url=durable.url)).ok


@pytest.mark.parametrize(("workers", "ok"), [(2, True), (0, False)])
def test_a_service_is_asked_for_its_workers(
    tmp_path: Path, wire: Wire, workers: int, ok: bool
) -> None:
    wire.on("GET /readyz", Answer({"status": "ready", "workers": workers}))
    wire.on("GET /v1/models", Answer({"data": []}))

    assert check_service(place(tmp_path, url=wire.url)).ok is ok


def test_a_key_that_does_not_hold_is_told_as_such(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /readyz", Answer({"status": "ready", "workers": 1}))
    wire.on("GET /v1/models", Answer({"code": "unauthenticated", "detail": "no key"}, 401))

    assert "--api-key" in check_service(place(tmp_path, url=wire.url)).remedy


def test_something_else_on_the_port_is_no_service(tmp_path: Path, wire: Wire) -> None:
    wire.on("GET /readyz", Answer(b"<html>hello</html>"))

    assert "no Polyseme service" in check_service(place(tmp_path, url=wire.url)).detail


def test_a_store_whose_place_is_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")

    assert not check_store(str(tmp_path / "store/inside")).ok
