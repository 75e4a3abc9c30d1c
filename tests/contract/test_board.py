"""Every script of the board on a real server."""

from __future__ import annotations

import time

import pytest

from contract.board import Board, Lease
from contract.records import CHECK_ID
from contract.tenants import Quotas
from tests.factories import make_card, make_corpus, make_request, open_job, run_job

REQUEST = make_request().to_dict()


@pytest.fixture
def job(board: Board) -> str:
    return open_job(board).id


def begin(board: Board, job: str, unit: str = "plan", lease_s: float = 30) -> Lease:
    lease = board.begin_unit(job, unit, lease_s=lease_s)
    assert lease is not None
    return lease


def claim(board: Board, job: str, *units: str, room: int = 4, patience_s: float = 30) -> list[str]:
    return board.claim_units(job, units, room=room, patience_s=patience_s)


def test_an_idempotency_key_opens_one_job(board: Board) -> None:
    first = board.open_job(REQUEST, idempotency=("k", "d"))

    again = board.open_job(REQUEST, idempotency=("k", "d"))
    other = board.open_job(REQUEST, idempotency=("k", "e"))

    assert (first.verdict, again.verdict, other.verdict) == ("opened", "replayed", "mismatch")
    assert first.job == again.job == other.job
    assert board.count_active() == 1
    assert board.find_submitted("k") == (first.job, "d")
    assert board.find_submitted("x") is None


def test_no_more_jobs_than_allowed_are_active(board: Board) -> None:
    board.open_job(REQUEST, max_active=1, idempotency=("k", "d"))

    assert board.open_job(REQUEST, max_active=1).verdict == "full"
    assert board.open_job(REQUEST, max_active=1, idempotency=("k", "d")).verdict == "replayed"
    assert board.open_job(REQUEST, max_active=2).verdict == "opened"


def test_a_new_job_is_queued_with_its_request(board: Board, job: str) -> None:
    found = board.get_job(job)

    assert found is not None
    assert (found.status, found.phase, found.revision, found.request) == ("queued", "queued", 1, REQUEST)
    assert found.created_at == pytest.approx(time.time(), abs=30)
    assert board.get_job("job_none") is None


def test_jobs_are_listed_newest_first_from_any_place(board: Board) -> None:
    ids = [open_job(board).id for _ in range(4)]

    [newest, second, *_] = board.list_jobs()
    rest = board.list_jobs(before=(second.created_at, second.id), count=1)

    assert [newest.id, second.id, rest[0].id] == ids[:0:-1]


def test_a_live_check_is_active_and_deleted_like_a_job_but_not_listed(board: Board, job: str) -> None:
    check = board.open_job({"priority": "high"}, kind="activations").job
    found = board.get_job(check)

    assert found is not None
    assert (found.kind, CHECK_ID.fullmatch(check) is not None) == ("activations", True)
    assert [j.id for j in board.list_jobs()] == [job]
    assert set(board.active_jobs()) == {job, check}
    assert board.forget(check) == "queued"
    board.end_job(check, "succeeded")
    assert (board.forget(check), board.get_job(check)) == ("deleted", None)
    assert board.active_jobs() == [job]


def test_units_are_claimed_once_and_no_more_than_there_is_room_for(board: Board, job: str) -> None:
    assert claim(board, job, "a", "b", "c", room=2) == ["a", "b"]
    assert claim(board, job, "a", "b", "c", room=2) == []
    assert claim(board, job, "a", "b", "c", room=3) == ["c"]


def test_done_units_are_not_claimed_and_make_room(board: Board, job: str) -> None:
    claim(board, job, "a", room=1)
    board.finish_unit(job, "a")

    assert claim(board, job, "a", "b", room=1) == ["b"]


def test_a_unit_whose_deadline_has_passed_is_claimed_again(board: Board, job: str) -> None:
    claim(board, job, "a", patience_s=0.05)
    begin(board, job, "b", lease_s=0.05)
    time.sleep(0.1)

    assert board.units_held(job) == 0
    assert claim(board, job, "a", "b") == ["a", "b"]


def test_a_unit_is_begun_by_one_worker(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert board.begin_unit(job, "plan", lease_s=30) is None
    assert (lease.attempt, board.units_held(job)) == (1, 1)
    found = board.get_job(job)
    assert found is not None
    assert found.status == "running"
    assert found.started_at is not None


def test_a_unit_that_is_done_or_of_an_ended_job_is_not_begun(board: Board, job: str) -> None:
    board.finish_unit(job, "plan")
    assert board.begin_unit(job, "plan", lease_s=30) is None

    board.end_job(job, "failed")
    assert board.begin_unit(job, "scan:0", lease_s=30) is None
    assert board.begin_unit("job_none", "plan", lease_s=30) is None


def test_the_worker_that_lost_its_lease_is_told_and_cannot_give_the_unit_back(board: Board, job: str) -> None:
    old = begin(board, job, lease_s=0.05)
    time.sleep(0.1)
    new = begin(board, job)

    board.release_unit(old)

    assert new.attempt == 2
    assert board.renew(old, lease_s=30) == "lost"
    assert board.renew(new, lease_s=30, tokens=5) == "running"
    found = board.get_job(job)
    assert found is not None
    assert found.progress.tokens_done == 5


def test_a_unit_counts_once_however_often_it_is_finished(board: Board, job: str) -> None:
    board.renew(begin(board, job, "scan:0"), lease_s=30, tokens=70)

    first = board.finish_unit(job, "scan:0", counter="shards_done", tokens=100, fields={"scan_ended_at": "@now"})
    again = board.finish_unit(job, "scan:0", counter="shards_done", tokens=100)

    found = board.get_job(job)
    assert found is not None
    assert (first, again) == (True, False)
    assert (found.progress.shards_done, found.progress.tokens_done) == (1, 100)
    assert board.done_units(job) == {"scan:0"}


def test_a_released_unit_can_be_claimed_at_once_and_its_attempt_forgotten(board: Board, job: str) -> None:
    board.release_unit(begin(board, job))
    assert board.attempts(job) == {"plan": 1}

    board.release_unit(begin(board, job), forget_attempt=True)

    assert board.attempts(job) == {"plan": 1}
    assert board.first_idle(job, ["plan"]) == "plan"
    assert claim(board, job, "plan") == ["plan"]
    assert board.first_idle(job, ["plan"]) is None


def test_a_cancelled_job_starts_nothing_and_cannot_succeed(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert board.cancel(job) == "cancelling"
    assert board.cancel(job) == "cancelling"
    assert board.renew(lease, lease_s=30) == "cancelling"
    assert claim(board, job, "scan:0") == []
    assert board.begin_unit(job, "scan:0", lease_s=30) is None
    assert not board.end_job(job, "succeeded")
    assert board.end_job(job, "cancelled")
    assert board.cancel(job) == "cancelled"
    assert board.cancel("job_none") == "gone"


def test_a_job_ends_once_and_leaves_the_active_ones(board: Board, job: str) -> None:
    lease = begin(board, job)

    assert board.end_job(job, "failed", {"code": "c", "detail": "d"})
    assert not board.end_job(job, "succeeded")

    found = board.get_job(job)
    assert found is not None
    assert (found.status, found.phase, found.error) == ("failed", "ended", {"code": "c", "detail": "d"})
    assert board.active_jobs() == []
    assert board.renew(lease, lease_s=30) == "lost"
    assert not board.finish_unit(job, "plan")


def test_only_a_job_that_has_ended_is_forgotten(board: Board, job: str) -> None:
    assert board.forget(job) == "queued"

    run_job(board, job)

    assert board.forget(job) == "deleted"
    assert board.forget(job) == "gone"
    assert board.list_jobs() == []


def test_every_change_of_phase_is_a_new_revision(board: Board, job: str) -> None:
    board.set_phase(job, "planning")
    board.set_phase(job, "planning")

    found = board.get_job(job)
    assert found is not None
    assert (found.phase, found.revision) == ("planning", 2)


def test_corpora_and_cards_come_back_as_they_were(board: Board) -> None:
    corpus, card = make_corpus(), make_card()

    assert board.add_corpus(corpus) == corpus
    assert board.add_corpus(make_corpus(documents=9)) == corpus
    board.put_card(card)

    assert (board.list_corpora(), board.list_cards()) == ([corpus], [card])
    assert board.delete_corpus("notes")
    assert not board.delete_corpus("notes")
    assert board.get_corpus("notes") is None


def test_a_worker_is_known_until_it_falls_silent(board: Board) -> None:
    board.announce_worker("a", ttl_s=30)
    board.announce_worker("b", ttl_s=0.02)
    time.sleep(0.05)

    assert board.list_workers() == ["a"]
    assert board.count_workers() == 1


def test_all_processes_share_one_secret(board: Board, redis_url: str) -> None:
    assert board.secret() == Board.connect(redis_url).secret()


def test_a_tag_is_a_jobs_revision_and_status(board: Board) -> None:
    job = open_job(board).id

    before = board.read_tag(job)
    board.begin_unit(job, "plan", lease_s=30)

    assert (before, board.read_tag(job), board.read_tag("job_" + "0" * 28)) == ((1, "queued"), (2, "running"), None)


def test_a_tag_is_not_told_to_another_tenant_nor_of_a_job_that_expires(board: Board) -> None:
    mine, ending = (board.open_job(REQUEST, tenant="acme").job for _ in range(2))
    board.end_job(ending, "failed", keep_s=60)

    assert board.read_tag(mine, "acme") == (1, "queued")
    assert board.read_tag(mine, "beta") is None
    assert board.read_tag(mine) is None
    assert board.read_tag(ending, "acme") is None


def test_a_unit_taken_again_with_the_same_token_is_the_same_one(board: Board) -> None:
    job = open_job(board).id
    board.claim_units(job, ["scan:0", "scan:1"], room=2, patience_s=30)

    first, again = (board.take_unit(["default"], lease_s=30, token="t") for _ in range(2))

    assert first == again
    assert board.attempts(job) == {"scan:0": 1}
    assert board.waiting_units()["default", "normal"] == 1


def test_a_job_keeps_where_it_came_from(board: Board) -> None:
    opened = board.open_job(make_request().to_dict(), origin={"request_id": "r"})

    found = board.get_job(opened.job)
    assert found is not None
    assert found.origin == {"request_id": "r"}


def test_ends_are_counted_once(board: Board) -> None:
    job = open_job(board).id

    for _ in range(2):
        board.end_job(job, "cancelled")

    assert board.survey().ended == {"cancelled": 1}


def test_tenants_have_lists_corpora_and_idempotency_keys_of_their_own(board: Board) -> None:
    mine = board.open_job(REQUEST, tenant="acme", idempotency=("k", "d")).job
    theirs = board.open_job(REQUEST, tenant="beta", idempotency=("k", "other")).job
    board.add_corpus(make_corpus(documents=1), "acme")
    board.add_corpus(make_corpus(documents=2), "beta")

    assert [[j.id for j in board.list_jobs(tenant=t)] for t in ("acme", "beta", "default")] == [[mine], [theirs], []]
    assert board.find_submitted("k", "acme") == (mine, "d")
    assert board.find_submitted("k") is None
    assert [c.documents for t in ("acme", "beta") for c in board.list_corpora(t)] == [1, 2]
    assert board.get_corpus("notes") is None
    assert board.delete_corpus("notes", "acme")
    assert board.get_corpus("notes", "beta") == make_corpus(documents=2)


def test_an_idempotency_key_that_looks_like_another_tenants_is_not_it(board: Board) -> None:
    board.open_job(REQUEST, tenant="acme", idempotency=("k", "d"))

    assert board.open_job(REQUEST, idempotency=("acme:k", "d")).verdict == "opened"
    assert board.open_job(REQUEST, idempotency=("tenant:acme:idem:k", "d")).verdict == "opened"


def test_a_tenants_quotas_hold_for_it_alone(board: Board) -> None:
    quotas = Quotas(active_jobs=2, queued_tokens=100, stored_bytes=0, requests_per_minute=0)

    def submit(tokens: int, tenant: str = "acme") -> str:
        return board.open_job(REQUEST, tenant=tenant, tokens=tokens, quotas=quotas).verdict

    assert submit(60) == "opened"
    assert submit(50) == "tokens"
    assert submit(40) == "opened"
    assert submit(0) == "jobs"
    assert submit(40, "beta") == "opened"


def test_what_is_run_and_what_has_ended_counts_no_more(board: Board) -> None:
    quotas = Quotas(active_jobs=2, queued_tokens=100, stored_bytes=0, requests_per_minute=0)
    first = board.open_job(REQUEST, tenant="acme", tokens=90, quotas=quotas).job
    board.finish_unit(first, "scan:0", tokens=50)
    second = board.open_job(REQUEST, tenant="acme", tokens=60, quotas=quotas)
    board.end_job(first, "failed")

    assert second.verdict == "opened"
    assert board.accounts.count_active("acme") == 1


def test_a_job_expires_when_its_time_is_over(board: Board) -> None:
    kept, short, long = (open_job(board).id for _ in range(3))
    board.end_job(kept, "failed")
    board.end_job(short, "failed", keep_s=0.01)
    board.end_job(long, "failed", keep_s=3600)
    time.sleep(0.02)

    found = [board.get_job(job) for job in (kept, short, long)]

    assert [j.has_expired for j in found if j] == [False, True, False]
    assert [j.expires_at is None for j in found if j] == [True, False, False]
    assert board.list_expired() == [short]


def test_a_forgotten_job_is_doomed_until_it_is_buried(board: Board, job: str) -> None:
    board.end_job(job, "failed", keep_s=0.001)

    assert board.forget(job, has_expired=True) == "deleted"

    assert board.list_doomed(for_s=0) == [("default", job)]
    assert board.list_doomed(for_s=60) == []
    assert (board.expired_tenant(job), board.expired_tenant("job_other")) == ("default", None)
    assert board.list_expired() == []
    board.bury(job)
    assert board.list_doomed(for_s=0) == []


def test_a_begin_whose_answer_was_lost_may_be_made_again(board: Board) -> None:
    job = open_job(board).id

    first, second = (board.begin_unit(job, "plan", lease_s=30, token="t") for _ in range(2))

    assert first == second
    assert board.attempts(job) == {"plan": 1}
    assert board.begin_unit(job, "plan", lease_s=30) is None


def test_an_open_whose_answer_was_lost_does_not_set_the_job_back(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    job = open_job(board).id
    board.begin_unit(job, "plan", lease_s=30)
    monkeypatch.setattr("contract.board.new_job_id", lambda kind: job)

    assert board.open_job({"model": "other"}).job == job

    found = board.get_job(job)
    assert found is not None
    assert found.status == "running"
    assert board.list_jobs() == [found]


def test_a_reopened_unit_is_counted_back(board: Board) -> None:
    job = open_job(board).id
    board.finish_unit(job, "scan:0", counter="shards_done", tokens=40)

    assert board.reopen_unit(job, "scan:0", counter="shards_done", tokens=40)
    assert not board.reopen_unit(job, "scan:0", counter="shards_done", tokens=40)

    found = board.get_job(job)
    assert found is not None
    assert (found.progress.shards_done, found.progress.tokens_done) == (0, 0)
    assert board.done_units(job) == set()


def test_a_note_about_a_job_that_was_deleted_does_not_bring_it_back(board: Board) -> None:
    job = open_job(board).id
    board.end_job(job, "cancelled")
    board.forget(job)

    board.note_failure(job, "scan:0", "too late")

    assert board.get_job(job) is None


ADDRESS = "a" * 64


def end_with_scan(board: Board, job: str, status: str = "succeeded", address: str = ADDRESS) -> None:
    board.finish_unit(job, "plan", fields={"scan_address": address, "reused": '{"job_a": [0, 2]}'})
    board.end_job(job, status)


def test_jobs_that_succeeded_are_found_by_their_scan_last_first(board: Board) -> None:
    jobs = [open_job(board).id for _ in range(3)]
    for job in jobs:
        assert job not in board.list_scans(ADDRESS)
        end_with_scan(board, job)
    end_with_scan(board, open_job(board).id, "failed")
    end_with_scan(board, open_job(board).id, address="")
    end_with_scan(board, board.open_job(REQUEST, tenant="acme").job)

    assert board.list_scans(ADDRESS) == jobs[::-1]
    assert board.list_scans(ADDRESS, count=1) == jobs[2:]
    assert len(board.list_scans(ADDRESS, "acme")) == 1
    assert board.list_scans("b" * 64) == board.list_scans("") == []


def test_a_forgotten_job_is_not_found_by_its_scan(board: Board, job: str) -> None:
    theirs = board.open_job(REQUEST, tenant="acme").job
    for ended in (job, theirs):
        end_with_scan(board, ended)

    board.forget(job)
    board.forget(theirs, "acme", has_expired=True)

    assert board.list_scans(ADDRESS) == board.list_scans(ADDRESS, "acme") == []


def test_a_job_says_what_it_took_over(board: Board, job: str) -> None:
    before = board.get_job(job)
    end_with_scan(board, job)
    after = board.get_job(job)

    assert before is not None
    assert after is not None
    assert (before.reused, before.scan_address) == ({}, "")
    assert (after.reused, after.scan_address) == ({"job_a": (0, 2)}, ADDRESS)
