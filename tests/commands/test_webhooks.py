from __future__ import annotations

import json
from pathlib import Path

from polyseme.contract.board.outbox import Outbox
from tests.client.standins import run_polyseme


def test_the_secret_is_shown_and_rotated(redis_url: str, tmp_path: Path) -> None:
    arguments = ["--redis-url", redis_url, "--tenant", "team"]

    first = run_polyseme(["webhooks", "secret", *arguments], tmp_path).stdout.split()
    second = run_polyseme(["webhooks", "rotate", *arguments], tmp_path).stdout.split()
    both = run_polyseme(["webhooks", "secret", *arguments], tmp_path).stdout.split()
    as_json = run_polyseme(
        ["webhooks", "secret", *arguments, "--json"], tmp_path
    ).stdout.splitlines()

    assert len(first) == len(second) == 1
    assert both == [*second, *first]
    assert [json.loads(line)["secret"] for line in as_json] == both
    assert Outbox.connect(redis_url).list_secrets("team") == both


def test_the_server_of_a_folder_is_found_wherever_its_socket_is(
    redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "data" / "redis").mkdir(parents=True)
    (tmp_path / "data" / "redis" / "redis.url").write_text(redis_url)

    shown = run_polyseme(["webhooks", "secret", "--data", "data"], tmp_path).stdout.split()

    assert shown == Outbox.connect(redis_url).list_secrets("default")


def test_a_board_that_is_not_there_is_a_plain_message(tmp_path: Path) -> None:
    done = run_polyseme(["webhooks", "secret", "--data", "nowhere"], tmp_path)

    assert done.returncode == 1
    assert "No Redis answers at unix://" in done.stderr
    assert "Traceback" not in done.stderr
