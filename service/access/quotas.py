"""What a tenant may use, and the refusal once it has.

While there are no keys nothing is measured against quotas.
"""

from __future__ import annotations

from polyseme.contract.errors import QuotaExceeded
from polyseme.contract.records.tenants import UNLIMITED, Quotas
from polyseme.service.context import Services

_SOON_S = 30  # jobs end
_LATER_S = 3600  # files stay until they are deleted or expire


def find_quotas(services: Services) -> Quotas:
    if not services.has_quotas:
        return UNLIMITED
    return services.board.accounts.get_tenant(services.tenant).quotas(services.settings)


def check_room(services: Services, quotas: Quotas) -> None:
    """Raises QuotaExceeded when nothing more may be stored."""
    if (
        quotas.stored_bytes
        and services.board.accounts.stored_bytes(services.tenant) >= quotas.stored_bytes
    ):
        raise too_many_bytes(services, quotas)


def too_many_bytes(services: Services, quotas: Quotas) -> QuotaExceeded:
    return QuotaExceeded(
        f"corpora and results of the tenant {services.tenant} may have {quotas.stored_bytes} "
        f"bytes: delete some",
        retry_after_s=_LATER_S,
    )


def too_many_jobs(services: Services, quotas: Quotas) -> QuotaExceeded:
    return QuotaExceeded(
        f"{quotas.active_jobs} jobs of the tenant {services.tenant} have not ended, and that is "
        f"the most",
        retry_after_s=_SOON_S,
    )


def too_many_tokens(services: Services, quotas: Quotas) -> QuotaExceeded:
    return QuotaExceeded(
        f"with this job, those of the tenant {services.tenant} would have {quotas.queued_tokens} "
        f"tokens to run or more",
        retry_after_s=_SOON_S,
    )
