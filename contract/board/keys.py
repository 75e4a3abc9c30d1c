"""The keys of the board in Redis: how each is spelled, and what lies there.

The patterns that a Lua script needs as it runs stand once more in scripts/shared/keys.lua.

Times are seconds since the epoch, by Redis' clock, unless the board's own is named. `jobs`,
`activations`, `idem`, `corpus`, `corpora`, `vectors`, `vector_sets`, `batches` and `batch_idem` are
those of the tenant "default"; another's are the same under tenant:<tenant>:.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyseme.contract.names import DEFAULT_TENANT


@dataclass(frozen=True)
class Keys:
    prefix: str = "polyseme:"

    # A job

    def job(self, job: str) -> str:
        """Hash: the record, of which lane, and served (its account there)."""
        return self._key("job", job)

    def flight(self, job: str) -> str:
        """Zset: unit -> deadline by the board's own clock, of the units that wait or run."""
        return self._key("job", job, "flight")

    def leases(self, job: str) -> str:
        """Hash: unit -> token of the worker that runs it."""
        return self._key("job", job, "leases")

    def attempts(self, job: str) -> str:
        """Hash: unit -> times begun."""
        return self._key("job", job, "attempts")

    def done(self, job: str) -> str:
        """Set of finished units."""
        return self._key("job", job, "done")

    def running(self, job: str) -> str:
        """Hash: unit -> tokens done so far in it."""
        return self._key("job", job, "running")

    def waiting(self, job: str) -> str:
        """Zset: unit -> place, of the units that wait for a worker."""
        return self._key("job", job, "waiting")

    # All jobs

    def jobs(self, tenant: str) -> str:
        """Zset by creation of a tenant's analyses."""
        return self._own(tenant, "jobs")

    def activations(self, tenant: str) -> str:
        """Zset by creation of a tenant's live checks."""
        return self._own(tenant, "activations")

    def active(self) -> str:
        """Zset by creation of the jobs of both kinds that have not ended."""
        return self._key("active")

    def tenant_active(self, tenant: str) -> str:
        """Zset: those of one tenant."""
        return self._key("active", tenant)

    def ended(self) -> str:
        """Hash: status -> jobs of both kinds that ended so, ever."""
        return self._key("ended")

    def expiring(self) -> str:
        """Zset by the time at which they are deleted of ended jobs that do not stay."""
        return self._key("expiring")

    def expired(self, name: str) -> str:
        """The tenant of a job or batch that is gone because its time was over, for a month."""
        return self._key("expired", name)

    def files_to_delete(self) -> str:
        """Zset by time of "<tenant> <id>": jobs whose record is gone, and whose files are not."""
        return self._key("files_to_delete")

    def idem(self, tenant: str, key: str) -> str:
        """Hash of an idempotency key: job, digest."""
        return self._own(tenant, "idem", key)

    def scans(self, tenant: str, address: str) -> str:
        """Zset by end of the tenant's jobs that succeeded with a scan of this address."""
        return self._key("scans", tenant, address)

    def clock(self) -> str:
        """Hash: ticks, what the board's own clock said when it was kept last, and at, what Redis'
        clock said then. See scripts/shared/ticks.lua.
        """
        return self._key("clock")

    def expiring_seen(self) -> str:
        """Hash: job -> the board's own clock when it was first seen to have expired."""
        return self._key("expiring_seen")

    # Lanes

    def lanes(self) -> str:
        """Set of all lanes that ever were."""
        return self._key("lanes")

    def lane(self, lane: str) -> str:
        """Zset: tenant -> account, of the tenants with waiting units."""
        return self._key("lane", lane)

    def lane_jobs(self, lane: str, tenant: str) -> str:
        """Zset: job -> account, of its jobs with waiting units."""
        return self._key("lane", lane, tenant)

    def shares(self, lane: str) -> str:
        """Hash: t:<tenant> account, clock highest account that had a turn, c:<tenant> the same
        for its jobs, at when the lane last gave a unit, or became one that could.
        """
        return self._key("shares", lane)

    def taken(self, token: str) -> str:
        """What a call with this token was given, for as long as its lease: its answer may have
        been lost.
        """
        return self._key("taken", token)

    def pauses(self) -> str:
        """Hash: kind of unit -> the longest seconds without progress in one, as a mean."""
        return self._key("pauses")

    # Workers, models, corpora

    def workers(self) -> str:
        """Zset: worker -> when it counts as gone, by the board's own clock."""
        return self._key("workers")

    def queues(self) -> str:
        """Hash: worker -> the queues it serves."""
        return self._key("queues")

    def encoders(self) -> str:
        """Set: the workers that have a sentence encoder."""
        return self._key("encoders")

    def leadership(self) -> str:
        """Hash: worker, which looks after all jobs now, or did so lately, and until, by the board's
        own clock, when another may.
        """
        return self._key("leadership")

    def models(self) -> str:
        """Hash: model -> its card, as JSON."""
        return self._key("models")

    def dictionaries(self) -> str:
        """Hash: sparse dictionary -> its card, as JSON."""
        return self._key("dictionaries")

    def corpora(self, tenant: str) -> str:
        """Zset by creation of a tenant's corpora."""
        return self._own(tenant, "corpora")

    def corpus(self, tenant: str, corpus: str) -> str:
        """The record of a corpus, as JSON."""
        return self._own(tenant, "corpus", corpus)

    def planned(self, tenant: str, corpus: str) -> str:
        """Hash: who read it, and how it was cut -> its tokens and windows, as JSON."""
        return self._own(tenant, "planned", corpus)

    def vector_sets(self, tenant: str) -> str:
        """Zset by creation of a tenant's sets of directions."""
        return self._own(tenant, "vector_sets")

    def vectors(self, tenant: str, name: str) -> str:
        """The record of a set, as JSON."""
        return self._own(tenant, "vectors", name)

    def secret(self) -> str:
        """What all API processes of this board sign cursors with."""
        return self._key("secret")

    def store(self) -> str:
        """Hash: id, what the store's identity file has; made, once it was seen there."""
        return self._key("store")

    # Batches

    def batches(self, tenant: str) -> str:
        """Zset by creation of a tenant's batches."""
        return self._own(tenant, "batches")

    def batch(self, batch: str) -> str:
        """Hash: the record, with how many of its jobs ended how (succeeded, failed, cancelled)
        and, as a job's record has it, how its webhook stands.
        """
        return self._key("batch", batch)

    def batch_jobs(self, batch: str) -> str:
        """List of "<index> <job>"."""
        return self._key("batch", batch, "jobs")

    def batch_open(self, batch: str) -> str:
        """Set of its jobs that have not ended."""
        return self._key("batch", batch, "open")

    def batch_ended(self, batch: str) -> str:
        """Hash: job -> status, which outlives the job."""
        return self._key("batch", batch, "ended")

    def batch_refused(self, batch: str) -> str:
        """Hash: index -> the problem of an entry that no job was opened for, as JSON."""
        return self._key("batch", batch, "refused")

    def batch_idem(self, tenant: str, key: str) -> str:
        """Hash of an idempotency key: batch, digest."""
        return self._own(tenant, "batch_idem", key)

    # Accounts

    def api_keys(self) -> str:
        """Zset by creation of all API keys, revoked ones too: once there was one, nobody is
        served without.
        """
        return self._key("keys")

    def api_key(self, key: str) -> str:
        """Hash: tenant, scopes, name, created_at, rotated_at, revoked_at, credential (the hash
        that holds).
        """
        return self._key("key", key)

    def credential(self, digest: str) -> str:
        """The key whose secret has this SHA-256; a replaced one ends with its time to live."""
        return self._key("credential", digest)

    def tenants(self) -> str:
        """Set of tenants that were set up or have had a key."""
        return self._key("tenants")

    def tenant(self, tenant: str) -> str:
        """Hash: weight and quotas, those that are not the service's defaults."""
        return self._key("tenant", tenant)

    def tenant_minute(self, tenant: str) -> str:
        """Hash: minute, requests granted in it."""
        return self._key("tenant", tenant, "minute")

    def stored(self, tenant: str) -> str:
        """Hash: corpus:<id>, vectors:<id> or job:<id> -> bytes in the store."""
        return self._key("stored", tenant)

    def stored_bytes(self) -> str:
        """Hash: tenant -> their sum."""
        return self._key("stored_bytes")

    # Webhooks

    def webhooks(self) -> str:
        """Zset: job or batch with an event -> when that is due."""
        return self._key("webhooks")

    def signing(self, tenant: str) -> str:
        """Hash: secret, before (the one that was rotated out), before_until."""
        return self._key("signing", tenant)

    def _key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    def _own(self, tenant: str, *parts: str) -> str:
        """A key of one tenant's."""
        return (
            self._key(*parts) if tenant == DEFAULT_TENANT else self._key("tenant", tenant, *parts)
        )
