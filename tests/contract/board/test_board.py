"""Every script of the board on a real server."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from polyseme.contract.board import jobs as jobs_module
from polyseme.contract.board.board import Board
from polyseme.contract.board.jobs import Jobs
from polyseme.contract.board.units import Lease
from polyseme.contract.errors import DamagedRecord
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.job import CHECK_ID, ActivationsRequest, Request
from polyseme.contract.records.tenants import Quotas
from tests.factories import make_card, make_corpus, make_request, open_job, run_job, take_unit

REQUEST = make_request()
CHECK = ActivationsRequest("job_" + "0" * 28, "tiny-gated", "a text", ((0, 1),), 5)


@pytest.fixture
def job(board: Board) -> str:
    return open_job(board).id


def begin(board: Board, job: str, unit: str = "plan", lease_s: float = 30) -> Lease:
    lease = take_unit(board, job, unit, lease_s=lease_s)
    assert lease is not None
    return lease


def claim(board: Board, job: str, *units: str, room: int = 4, patience_s: float = 30) -> list[str]:
    return board.units.claim(job, units, room=room, patience_s=patience_s)


def test_an_idempotency_key_opens_one_job(board: Board) -> None:
    first = board.jobs.open(REQUEST, idempotency=("k", "d"))

    again = board.jobs.open(REQUEST, idempotency=("k", "d"))
    other = board.jobs.open(REQUEST, idempotency=("k", "e"))

    assert (first.verdict, again.verdict, other.verdict) == ("opened", "replayed", "mismatch")
    assert first.job == again.job == other.job
    assert board.jobs.count_active() == 1
    assert board.jobs.find_submitted("k") == (first.job, "d")
    assert board.jobs.find_submitted("x") is None


def test_no_more_jobs_than_allowed_are_active(board: Board) -> None:
    board.jobs.open(REQUEST, max_active=1, idempotency=("k", "d"))

    assert board.jobs.open(REQUEST, max_active=1).verdict == "full"
    assert board.jobs.open(REQUEST, max_active=1, idempotency=("k", "d")).verdict == "replayed"
    assert board.jobs.open(REQUEST, max_active=2).verdict == "opened"


def test_a_new_job_is_queued_with_its_request(board: Board, job: str) -> None:
    found = board.jobs.get(job)

    assert found is not None
    assert (found.status, found.phase, found.revision, found.request) == (
        "queued",
        "queued",
        1,
        REQUEST,
    )
    assert found.created_at == pytest.approx(time.time(), abs=30)
    assert board.jobs.get("job_none") is None


def test_jobs_are_listed_newest_first_from_any_place(board: Board) -> None:
    ids = [open_job(board).id for _ in range(4)]

    [newest, second, *_] = board.jobs.newest_first()
    rest = board.jobs.newest_first(before=(second.created_at, second.id))

    assert [newest.id, second.id, next(rest).id] == ids[:0:-1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request", "no JSON"),
        ("request", "[]"),
        ("request", '{"model": 7}'),
        ("created_at", "long ago"),
        ("revision", ""),
        ("reused", "{"),
    ],
)
def test_a_damaged_record_spoils_only_itself(board: Board, field: str, value: str) -> None:
    jobs = [open_job(board).id for _ in range(3)]
    board._redis.hset(f"polyseme:job:{jobs[1]}", field, value)

    assert [j.id for j in board.jobs.newest_first()] == [jobs[2], jobs[0]]
    assert [j.id for j in board.jobs.get_many(jobs)] == [jobs[0], jobs[2]]
    with pytest.raises(DamagedRecord, match=jobs[1]) as caught:
        board.jobs.get(jobs[1])
    assert not caught.value.is_newer


def test_damaged_corpora_and_models_are_left_out_of_their_lists(board: Board) -> None:
    for name in ("a", "b"):
        board.registry.add_corpus(make_corpus(id=name))
        board.registry.put_card(make_card(id=name))
    board._redis.set("polyseme:corpus:a", "{")
    board._redis.hset("polyseme:models", "a", '{"id": "a", "of": "another time"}')

    assert [c.id for c in board.registry.list_corpora()] == ["b"]
    assert [c.id for c in board.registry.list_cards()] == ["b"]
    with pytest.raises(DamagedRecord, match="corpus 'a'"):
        board.registry.get_corpus("a")
    with pytest.raises(DamagedRecord, match="model 'a'"):
        board.registry.get_card("a")


def test_cards_of_dictionaries_are_kept_by_id_and_listed_by_model(board: Board) -> None:
    cards = [DictionaryCard(name, model) for name, model in (("b", "m"), ("a", "m"), ("c", "n"))]
    for card in cards:
        board.registry.put_dictionary(card)

    assert board.registry.get_dictionary("b") == cards[0]
    assert board.registry.get_dictionary("m") is None
    assert [card.id for card in board.registry.list_dictionaries()] == ["a", "b", "c"]
    assert [card.id for card in board.registry.list_dictionaries("m")] == ["a", "b"]
    board.registry.delete_dictionary("a")
    assert [card.id for card in board.registry.list_dictionaries("m")] == ["b"]


def test_a_damaged_card_of_a_dictionary_is_left_out(board: Board) -> None:
    board.registry.put_dictionary(DictionaryCard("b", "m"))
    board._redis.hset("polyseme:dictionaries", "a", '{"id": "a", "of": "another time"}')

    assert [card.id for card in board.registry.list_dictionaries()] == ["b"]
    with pytest.raises(DamagedRecord, match="dictionary 'a'"):
        board.registry.get_dictionary("a")


def test_records_are_read_in_parts_that_fit_memory(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices = [",".join(map(str, range(0, size, 2))) for size in (4000, 10, 4000, 10, 10, 4000)]
    requests = [make_request(neurons={"indices": i}) for i in indices]
    jobs = [board.jobs.open(request).job for request in requests]
    monkeypatch.setattr(jobs_module, "_READ_BYTES", 14_000)
    monkeypatch.setattr(jobs_module, "_FEW", 0)
    read: list[int] = []
    read_records = Jobs._read_records

    def counted(self: Jobs, names: list[str]) -> Any:
        read.append(len(names))
        return read_records(self, names)

    monkeypatch.setattr(Jobs, "_read_records", counted)

    found = board.jobs.get_many([*jobs, "job_none"])

    assert [j.id for j in found] == jobs
    assert [j.request for j in found] == requests
    assert read == [2, 3, 2]
    assert board.jobs.get_many([]) == []


def test_what_redis_keeps_of_a_job_counts_as_stored_until_it_is_deleted(board: Board) -> None:
    job = board.jobs.open(make_request(neurons={"indices": "0,2,4,6"}), tenant="acme").job
    found = board.jobs.get(job)

    assert found is not None
    assert board.accounts.stored_bytes("acme") == found.record_bytes + len("{}")

    board.accounts.note_stored("acme", f"job:{job}", 1000)
    board.jobs.end(job, "succeeded")
    board.jobs.delete_record(job, "acme")
    board.jobs.delete_record(job, "acme")
    assert board.accounts.stored_bytes("acme") == 1000


def test_why_a_worker_gave_a_unit_back_is_known_until_one_is_finished(
    board: Board, job: str
) -> None:
    begin(board, job)
    before = board.jobs.get(job)
    board.jobs.note_wait(job, "its words need another encoder")
    board.jobs.note_wait(job, "its words need another encoder")
    noted = board.jobs.get(job)
    board.units.finish(job, "plan")
    after = board.jobs.get(job)

    assert before is not None
    assert noted is not None
    assert after is not None
    assert noted.waits_because == "its words need another encoder"
    assert noted.revision == before.revision + 1
    assert (before.waits_because, after.waits_because) == (None, None)


def test_a_live_check_is_active_and_deleted_like_a_job_but_not_listed(
    board: Board, job: str
) -> None:
    check = board.jobs.open(CHECK).job
    found = board.jobs.get(check)

    assert found is not None
    assert (found.kind, CHECK_ID.fullmatch(check) is not None) == ("activations", True)
    assert [j.id for j in board.jobs.newest_first()] == [job]
    assert set(board.jobs.list_active()) == {job, check}
    assert board.jobs.delete_record(check) == "queued"
    board.jobs.end(check, "succeeded")
    assert (board.jobs.delete_record(check), board.jobs.get(check)) == ("deleted", None)
    assert board.jobs.list_active() == [job]


@pytest.mark.parametrize(
    ("request_", "unit", "priority"),
    [(make_request(priority="low"), "plan", "low"), (CHECK, "activate", "live")],
)
def test_a_job_opens_with_its_first_unit_waiting_in_its_lane(
    board: Board, request_: Request, unit: str, priority: str
) -> None:
    job = board.jobs.open(request_, queue="big", patience_s=30).job

    found = board.jobs.get(job)
    assert found is not None
    assert (found.status, found.queue, found.request) == ("queued", "big", request_)
    assert board.units.count_waiting()["big", priority] == 1
    assert claim(board, job, unit) == []
    lease = board.units.take(["big"], lease_s=30)
    assert lease is not None
    assert (lease.job, lease.unit, lease.attempt) == (job, unit, 1)


def test_a_first_unit_that_nobody_takes_is_claimed_again(board: Board) -> None:
    job = board.jobs.open(REQUEST, patience_s=0.02).job
    time.sleep(0.05)

    assert claim(board, job, "plan") == ["plan"]


def test_a_job_that_is_refused_or_replayed_has_no_unit_wait(board: Board) -> None:
    first = board.jobs.open(REQUEST, max_active=1, idempotency=("k", "d")).job
    board.units.take(["default"], lease_s=30)

    board.jobs.open(REQUEST, max_active=1, idempotency=("k", "d"))
    board.jobs.open(REQUEST, max_active=1, idempotency=("k", "e"))
    board.jobs.open(REQUEST, max_active=1)

    assert board.units.count_waiting()["default", "normal"] == 0
    assert board.jobs.list_active() == [first]


def test_an_option_that_only_a_newer_service_knows_does_not_hide_a_job(
    board: Board, redis_url: str, job: str
) -> None:
    record = REQUEST.to_dict() | {"senses": {"same_at": 0.4, "newer": 1}, "newer": 2}
    server = redis.Redis.from_url(redis_url, decode_responses=True)
    server.hset(f"polyseme:job:{job}", "request", json.dumps(record))

    found = board.jobs.get(job)

    assert found is not None
    assert found.request == make_request(senses={"same_at": 0.4})


def test_units_are_claimed_once_and_no_more_than_there_is_room_for(board: Board, job: str) -> None:
    assert claim(board, job, "a", "b", "c", room=2) == ["a", "b"]
    assert claim(board, job, "a", "b", "c", room=2) == []
    assert claim(board, job, "a", "b", "c", room=3) == ["c"]


def test_done_units_are_not_claimed_and_make_room(board: Board, job: str) -> None:
    claim(board, job, "a", room=1)
    board.units.finish(job, "a")

    assert claim(board, job, "a", "b", room=1) == ["b"]


def test_a_unit_whose_deadline_has_passed_is_claimed_again(board: Board, job: str) -> None:
    claim(board, job, "a", patience_s=0.05)
    begin(board, job, "b", lease_s=0.05)
    time.sleep(0.1)

    assert board.units.count_held(job) == 0
    assert claim(board, job, "a", "b") == ["a", "b"]


def test_a_unit_is_begun_by_one_worker(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert take_unit(board, job, "plan", lease_s=30) is None
    assert (lease.attempt, board.units.count_held(job)) == (1, 1)
    found = board.jobs.get(job)
    assert found is not None
    assert found.status == "running"
    assert found.started_at is not None


def test_a_unit_that_is_done_or_of_an_ended_job_is_not_begun(board: Board, job: str) -> None:
    board.units.finish(job, "plan")
    assert take_unit(board, job, "plan", lease_s=30) is None

    board.jobs.end(job, "failed")
    assert take_unit(board, job, "scan:0", lease_s=30) is None
    assert take_unit(board, "job_none", "plan", lease_s=30) is None


def test_the_worker_that_lost_its_lease_is_told_and_cannot_give_the_unit_back(
    board: Board, job: str
) -> None:
    old = begin(board, job, lease_s=0.05)
    time.sleep(0.1)
    new = begin(board, job)

    board.units.release(old)

    assert new.attempt == 2
    assert board.units.renew(old, lease_s=30) == "lost"
    assert board.units.renew(new, lease_s=30, tokens=5) == "running"
    found = board.jobs.get(job)
    assert found is not None
    assert found.progress.tokens_done == 5


def test_a_unit_counts_once_however_often_it_is_finished(board: Board, job: str) -> None:
    board.units.renew(begin(board, job, "scan:0"), lease_s=30, tokens=70)

    first = board.units.finish(
        job, "scan:0", counter="shards_done", tokens=100, fields={"scan_ended_at": "@now"}
    )
    again = board.units.finish(job, "scan:0", counter="shards_done", tokens=100)

    found = board.jobs.get(job)
    assert found is not None
    assert (first, again) == (True, False)
    assert (found.progress.shards_done, found.progress.tokens_done) == (1, 100)
    assert board.units.list_done(job) == {"scan:0"}


def test_a_released_unit_can_be_claimed_at_once_and_its_attempt_forgotten(
    board: Board, job: str
) -> None:
    board.units.release(begin(board, job))
    assert board.units.count_attempts(job) == {"plan": 1}

    board.units.release(begin(board, job), forget_attempt=True)

    assert board.units.count_attempts(job) == {"plan": 1}
    assert board.units.first_idle(job, ["plan"]) == "plan"
    assert claim(board, job, "plan") == ["plan"]
    assert board.units.first_idle(job, ["plan"]) is None


def test_a_cancelled_job_starts_nothing_and_cannot_succeed(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert board.jobs.cancel(job) == "cancelling"
    assert board.jobs.cancel(job) == "cancelling"
    assert board.units.renew(lease, lease_s=30) == "cancelling"
    assert claim(board, job, "scan:0") == []
    assert take_unit(board, job, "scan:0", lease_s=30) is None
    assert not board.jobs.end(job, "succeeded")
    assert board.jobs.end(job, "cancelled")
    assert board.jobs.cancel(job) == "cancelled"
    assert board.jobs.cancel("job_none") == "gone"


def test_a_job_ends_once_and_leaves_the_active_ones(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert board.jobs.end(job, "failed", {"code": "c", "detail": "d"})
    assert not board.jobs.end(job, "succeeded")

    found = board.jobs.get(job)
    assert found is not None
    assert (found.status, found.phase, found.error) == (
        "failed",
        "ended",
        {"code": "c", "detail": "d"},
    )
    assert board.jobs.list_active() == []
    assert board.units.renew(lease, lease_s=30) == "lost"
    assert not board.units.finish(job, "plan")


def test_only_a_job_that_has_ended_is_forgotten(board: Board, job: str) -> None:
    assert board.jobs.delete_record(job) == "queued"

    run_job(board, job)

    assert board.jobs.delete_record(job) == "deleted"
    assert board.jobs.delete_record(job) == "gone"
    assert list(board.jobs.newest_first()) == []


def test_every_change_of_phase_is_a_new_revision(board: Board, job: str) -> None:
    board.jobs.set_phase(job, "planning")
    board.jobs.set_phase(job, "planning")

    found = board.jobs.get(job)
    assert found is not None
    assert (found.phase, found.revision) == ("planning", 2)


def test_corpora_and_cards_come_back_as_they_were(board: Board) -> None:
    corpus, card = make_corpus(), make_card()

    assert board.registry.add_corpus(corpus) == corpus
    assert board.registry.add_corpus(make_corpus(documents=9)) == corpus
    board.registry.put_card(card)

    assert (board.registry.list_corpora(), board.registry.list_cards()) == ([corpus], [card])
    assert board.registry.delete_corpus("notes")
    assert not board.registry.delete_corpus("notes")
    assert board.registry.get_corpus("notes") is None


def test_a_worker_is_known_until_it_falls_silent(board: Board) -> None:
    board.workers.announce("a", ttl_s=30)
    board.workers.announce("b", ttl_s=0.02)
    time.sleep(0.05)

    assert board.workers.list_names() == ["a"]
    assert board.workers.count() == 1


def test_all_processes_share_one_secret(board: Board, redis_url: str) -> None:
    assert board.registry.get_secret() == Board.connect(redis_url).registry.get_secret()


def test_a_tag_is_a_jobs_revision_and_status(board: Board) -> None:
    job = open_job(board).id

    before = board.jobs.read_tag(job)
    take_unit(board, job, "plan", lease_s=30)

    assert (before, board.jobs.read_tag(job), board.jobs.read_tag("job_" + "0" * 28)) == (
        (1, "queued"),
        (2, "running"),
        None,
    )


def test_a_tag_is_not_told_to_another_tenant_nor_of_a_job_that_expires(board: Board) -> None:
    mine, ending = (board.jobs.open(REQUEST, tenant="acme").job for _ in range(2))
    board.jobs.end(ending, "failed", keep_s=60)

    assert board.jobs.read_tag(mine, "acme") == (1, "queued")
    assert board.jobs.read_tag(mine, "beta") is None
    assert board.jobs.read_tag(mine) is None
    assert board.jobs.read_tag(ending, "acme") is None


def test_a_unit_taken_again_with_the_same_token_is_the_same_one(board: Board) -> None:
    job = open_job(board).id
    board.units.claim(job, ["scan:0", "scan:1"], room=2, patience_s=30)

    first, again = (board.units.take(["default"], lease_s=30, token="t") for _ in range(2))

    assert first == again
    assert board.units.count_attempts(job) == {"scan:0": 1}
    assert board.units.count_waiting()["default", "normal"] == 1


def test_a_job_keeps_where_it_came_from(board: Board) -> None:
    opened = board.jobs.open(make_request(), origin={"request_id": "r"})

    found = board.jobs.get(opened.job)
    assert found is not None
    assert found.origin == {"request_id": "r"}


def test_ends_are_counted_once(board: Board) -> None:
    job = open_job(board).id

    for _ in range(2):
        board.jobs.end(job, "cancelled")

    assert board.jobs.survey().ended == {"cancelled": 1}


def test_tenants_have_lists_corpora_and_idempotency_keys_of_their_own(board: Board) -> None:
    mine = board.jobs.open(REQUEST, tenant="acme", idempotency=("k", "d")).job
    theirs = board.jobs.open(REQUEST, tenant="beta", idempotency=("k", "other")).job
    board.registry.add_corpus(make_corpus(documents=1), "acme")
    board.registry.add_corpus(make_corpus(documents=2), "beta")

    assert [
        [j.id for j in board.jobs.newest_first(tenant=t)] for t in ("acme", "beta", "default")
    ] == [
        [mine],
        [theirs],
        [],
    ]
    assert board.jobs.find_submitted("k", "acme") == (mine, "d")
    assert board.jobs.find_submitted("k") is None
    assert [c.documents for t in ("acme", "beta") for c in board.registry.list_corpora(t)] == [1, 2]
    assert board.registry.get_corpus("notes") is None
    assert board.registry.delete_corpus("notes", "acme")
    assert board.registry.get_corpus("notes", "beta") == make_corpus(documents=2)


def test_an_idempotency_key_that_looks_like_another_tenants_is_not_it(board: Board) -> None:
    board.jobs.open(REQUEST, tenant="acme", idempotency=("k", "d"))

    assert board.jobs.open(REQUEST, idempotency=("acme:k", "d")).verdict == "opened"
    assert board.jobs.open(REQUEST, idempotency=("tenant:acme:idem:k", "d")).verdict == "opened"


def test_a_tenants_quotas_hold_for_it_alone(board: Board) -> None:
    quotas = Quotas(active_jobs=2, queued_tokens=100, stored_bytes=0, requests_per_minute=0)

    def submit(tokens: int, tenant: str = "acme") -> str:
        return board.jobs.open(REQUEST, tenant=tenant, tokens=tokens, quotas=quotas).verdict

    assert submit(60) == "opened"
    assert submit(50) == "tokens"
    assert submit(40) == "opened"
    assert submit(0) == "jobs"
    assert submit(40, "beta") == "opened"


def test_what_is_run_and_what_has_ended_counts_no_more(board: Board) -> None:
    quotas = Quotas(active_jobs=2, queued_tokens=100, stored_bytes=0, requests_per_minute=0)
    first = board.jobs.open(REQUEST, tenant="acme", tokens=90, quotas=quotas).job
    board.units.finish(first, "scan:0", tokens=50)
    second = board.jobs.open(REQUEST, tenant="acme", tokens=60, quotas=quotas)
    board.jobs.end(first, "failed")

    assert second.verdict == "opened"
    assert board.accounts.count_active("acme") == 1


def test_a_job_expires_when_its_time_is_over(board: Board) -> None:
    kept, short, long = (open_job(board).id for _ in range(3))
    board.jobs.end(kept, "failed")
    board.jobs.end(short, "failed", keep_s=0.01)
    board.jobs.end(long, "failed", keep_s=3600)
    time.sleep(0.02)

    found = [board.jobs.get(job) for job in (kept, short, long)]

    assert [j.has_expired for j in found if j] == [False, True, False]
    assert [j.expires_at is None for j in found if j] == [True, False, False]
    assert board.jobs.list_expired() == []
    time.sleep(0.02)
    assert board.jobs.list_expired() == [short]


def test_a_deleted_job_has_files_to_delete_until_that_is_confirmed(board: Board, job: str) -> None:
    board.jobs.end(job, "failed", keep_s=0.001)

    assert board.jobs.delete_record(job, has_expired=True) == "deleted"

    assert board.jobs.files_to_delete(for_s=0) == [("default", job)]
    assert board.jobs.files_to_delete(for_s=60) == []
    assert (board.jobs.expired_tenant(job), board.jobs.expired_tenant("job_other")) == (
        "default",
        None,
    )
    assert board.jobs.list_expired() == []
    board.jobs.confirm_files_deleted(job)
    assert board.jobs.files_to_delete(for_s=0) == []


def test_an_open_whose_answer_was_lost_does_not_set_the_job_back(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_job(board).id
    take_unit(board, job, "plan", lease_s=30)
    monkeypatch.setattr("polyseme.contract.board.jobs.new_job_id", lambda kind: job)

    assert board.jobs.open(make_request(model="other")).job == job

    found = board.jobs.get(job)
    assert found is not None
    assert found.status == "running"
    assert list(board.jobs.newest_first()) == [found]
    assert board.units.take(["default"], lease_s=30) is None


def test_a_reopened_unit_is_counted_back(board: Board) -> None:
    job = open_job(board).id
    board.units.finish(job, "scan:0", counter="shards_done", tokens=40)

    assert board.units.reopen(job, "scan:0", counter="shards_done", tokens=40)
    assert not board.units.reopen(job, "scan:0", counter="shards_done", tokens=40)

    found = board.jobs.get(job)
    assert found is not None
    assert (found.progress.shards_done, found.progress.tokens_done) == (0, 0)
    assert board.units.list_done(job) == set()


def test_a_unit_that_runs_no_token_is_reopened_too(board: Board) -> None:
    job = open_job(board).id
    board.units.finish(job, "merge:0", counter="layers_done")

    assert board.units.reopen(job, "merge:0", counter="layers_done")


def test_a_note_about_a_job_that_was_deleted_does_not_bring_it_back(board: Board) -> None:
    job = open_job(board).id
    board.jobs.end(job, "cancelled")
    board.jobs.delete_record(job)

    board.units.note_failure(job, "scan:0", "too late")

    assert board.jobs.get(job) is None


ADDRESS = "a" * 64


def end_with_scan(
    board: Board, job: str, status: str = "succeeded", address: str = ADDRESS
) -> None:
    board.units.finish(job, "plan", fields={"scan_address": address, "reused": '{"job_a": [0, 2]}'})
    board.jobs.end(job, status)


def test_jobs_that_succeeded_are_found_by_their_scan_last_first(board: Board) -> None:
    jobs = [open_job(board).id for _ in range(3)]
    for job in jobs:
        assert job not in board.jobs.list_scans(ADDRESS)
        end_with_scan(board, job)
    end_with_scan(board, open_job(board).id, "failed")
    end_with_scan(board, open_job(board).id, address="")
    end_with_scan(board, board.jobs.open(REQUEST, tenant="acme").job)

    assert board.jobs.list_scans(ADDRESS) == jobs[::-1]
    assert board.jobs.list_scans(ADDRESS, count=1) == jobs[2:]
    assert len(board.jobs.list_scans(ADDRESS, "acme")) == 1
    assert board.jobs.list_scans("b" * 64) == board.jobs.list_scans("") == []


def test_a_forgotten_job_is_not_found_by_its_scan(board: Board, job: str) -> None:
    theirs = board.jobs.open(REQUEST, tenant="acme").job
    for ended in (job, theirs):
        end_with_scan(board, ended)

    board.jobs.delete_record(job)
    board.jobs.delete_record(theirs, "acme", has_expired=True)

    assert board.jobs.list_scans(ADDRESS) == board.jobs.list_scans(ADDRESS, "acme") == []


def test_a_job_says_what_it_took_over(board: Board, job: str) -> None:
    before = board.jobs.get(job)
    end_with_scan(board, job)
    after = board.jobs.get(job)

    assert before is not None
    assert after is not None
    assert (before.reused, before.scan_address) == ({}, "")
    assert (after.reused, after.scan_address) == ({"job_a": (0, 2)}, ADDRESS)
