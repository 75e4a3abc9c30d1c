"""A job that is there: finding it for its tenant, cancelling it, deleting it."""

from __future__ import annotations

from polyseme.contract.errors import Conflict, DamagedRecord, Gone, JobNotFinished, NotFound
from polyseme.contract.files.store import Layout
from polyseme.contract.records.job import Job
from polyseme.service.context import Services


def find_job(services: Services, job: str, what: str = "job") -> Job:
    """what: the kind of job, as a client calls it.

    Raises NotFound, for another tenant's too; Gone once expired.
    """
    found = services.board.jobs.get(job)
    if found is not None and found.tenant == services.tenant and not found.has_expired:
        return found
    # Asked in either case, so that another tenant's job takes as long as none.
    expired = services.board.jobs.expired_tenant(job)
    owner = found.tenant if found else expired
    if owner == services.tenant:
        raise Gone(f"the {what} {job} has expired, and its result is deleted")
    raise NotFound(f"no {what} {job}")


def find_result(services: Services, job: str) -> Job:
    """A job that has a result. Raises JobNotFinished for any other."""
    found = find_job(services, job)
    if found.status == "succeeded":
        return found
    if found.is_terminal:
        raise JobNotFinished(f"{job} has no result: it {found.status}")
    raise JobNotFinished(
        f"{job} is {found.status}: its result is there once it has succeeded", retry_after_s=2
    )


def cancel_job(services: Services, job: str) -> tuple[Job, bool]:
    """The job afterwards, and whether it had ended before.

    One that nobody works on ends at once.
    """
    before = find_job(services, job)
    if services.board.jobs.cancel(job) == "cancelling":
        end_if_idle(services, job)
    return find_job(services, job), before.is_terminal


def end_if_idle(services: Services, job: str) -> None:
    """Ends a job that is being cancelled, if no worker holds a unit of it.

    Otherwise a worker will.
    """
    if services.board.units.count_held(job) == 0 and _end_cancelled(services, job):
        _delete_files(services, job)


def delete_job(services: Services, job: str) -> None:
    forget_job(services, job, "job", "cancel it first, and delete it once it has ended")


def forget_job(services: Services, job: str, what: str, remedy: str) -> None:
    """Removes the record, then the files: a result without a record is found by nobody.

    remedy: what to do with one that has not ended. A worker deletes the files if this process dies
    before it has.
    """
    try:
        find_job(services, job, what)
    except DamagedRecord:
        # What is left of it may be deleted by whoever it belongs to.
        if services.board.jobs.read_tag(job, services.tenant) is None:
            raise
    status = services.board.jobs.delete_record(job, services.tenant)
    if status == "gone":
        raise NotFound(f"no {what} {job}")
    if status != "deleted":
        raise Conflict(f"{job} is {status}: {remedy}")
    services.results.forget(job)
    _delete_files(services, job)
    services.board.jobs.confirm_files_deleted(job, services.tenant)


def _delete_files(services: Services, job: str) -> None:
    services.store.delete(Layout.work(job))
    services.store.delete(Layout.result(job))
    services.board.accounts.note_stored(services.tenant, f"job:{job}", 0)


def _end_cancelled(services: Services, job: str) -> bool:
    return services.board.jobs.end(job, "cancelled", keep_s=services.settings.retention_s)
