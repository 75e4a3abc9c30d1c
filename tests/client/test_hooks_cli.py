from __future__ import annotations

from pathlib import Path

from contract.webhooks import Outbox
from tests.client.standins import run_polyseme


def test_the_secret_is_shown_and_rotated(redis_url: str, tmp_path: Path) -> None:
    arguments = ["--redis-url", redis_url, "--tenant", "team"]

    first = run_polyseme(["webhooks", "secret", *arguments], tmp_path).stdout.split()
    second = run_polyseme(["webhooks", "rotate", *arguments], tmp_path).stdout.split()
    both = run_polyseme(["webhooks", "secret", *arguments], tmp_path).stdout.split()

    assert len(first) == len(second) == 1
    assert both == [*second, *first]
    assert Outbox.connect(redis_url).secrets("team") == both


def test_a_board_that_is_not_there_is_a_plain_message(tmp_path: Path) -> None:
    done = run_polyseme(["webhooks", "secret", "--data", "nowhere"], tmp_path)

    assert done.returncode == 1
    assert "No Redis answers at unix://" in done.stderr
    assert "Traceback" not in done.stderr
