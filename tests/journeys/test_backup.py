"""A backup taken while jobs run, and what is restored from it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import redis

from polyseme.contract.board.board import Board
from tests.journeys.site import Site, await_that, running_site
from tests.nursery import Nursery
from tests.servers import RedisServer


def back_up(site: Site, folder: Path) -> None:
    """As docs/operations.md says: Redis first, then the store."""
    client = redis.Redis.from_url(site.server.url, decode_responses=True)
    client.config_set("auto-aof-rewrite-percentage", 0)
    client.bgrewriteaof()
    await_that(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, 30)
    shutil.copytree(Path(site.server.folder) / "appendonlydir", folder / "appendonlydir")
    shutil.copytree(site.settings.store, folder / "store")


def test_a_backup_of_a_running_service_is_restored_and_its_jobs_end(
    nursery: Nursery, tmp_path: Path
) -> None:
    with running_site(nursery, tmp_path / "data") as site:
        site.start_worker(slow=0.1)
        ended = site.submit()
        quiet = site.run_quietly(ended)
        under_way, waiting = site.submit(), site.submit()
        site.holder(under_way, "scan")
        back_up(site, tmp_path / "backup")

        with RedisServer.running() as server:
            server.kill()
            shutil.rmtree(f"{server.folder}/appendonlydir")
            shutil.copytree(tmp_path / "backup/appendonlydir", f"{server.folder}/appendonlydir")
            server.start()
            settings = replace(
                site.settings, redis_url=server.url, store=str(tmp_path / "backup/store")
            )
            restored = Site(server, nursery, tmp_path / "data", settings, site.started)
            assert Board.connect(server.url).jobs.get(ended) == site.job(ended)
            restored.start_worker()

            for job in (under_way, waiting):
                assert restored.run_quietly(job) == quiet
            assert restored.digests(ended) == quiet
