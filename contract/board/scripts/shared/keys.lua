-- Keys that are known only as a script runs; contract/board/keys.py has the same under the same
-- names, and says what lies there. Needs `prefix`.
local keys = {}
function keys.job(job) return prefix .. 'job:' .. job end
function keys.flight(job) return keys.job(job) .. ':flight' end
function keys.leases(job) return keys.job(job) .. ':leases' end
function keys.attempts(job) return keys.job(job) .. ':attempts' end
function keys.done(job) return keys.job(job) .. ':done' end
function keys.waiting(job) return keys.job(job) .. ':waiting' end

function keys.clock() return prefix .. 'clock' end

function keys.lanes() return prefix .. 'lanes' end
function keys.lane(lane) return prefix .. 'lane:' .. lane end
function keys.lane_jobs(lane, tenant) return keys.lane(lane) .. ':' .. tenant end
function keys.shares(lane) return prefix .. 'shares:' .. lane end

function keys.batch(batch) return prefix .. 'batch:' .. batch end
function keys.batch_jobs(batch) return keys.batch(batch) .. ':jobs' end
function keys.batch_open(batch) return keys.batch(batch) .. ':open' end
function keys.batch_ended(batch) return keys.batch(batch) .. ':ended' end
function keys.batch_refused(batch) return keys.batch(batch) .. ':refused' end

function keys.tenant(tenant) return prefix .. 'tenant:' .. tenant end
function keys.tenant_active(tenant) return prefix .. 'active:' .. tenant end
function keys.scans(tenant, address) return prefix .. 'scans:' .. tenant .. ':' .. address end
function keys.stored(tenant) return prefix .. 'stored:' .. tenant end
function keys.stored_bytes() return prefix .. 'stored_bytes' end
function keys.expired(name) return prefix .. 'expired:' .. name end

function keys.api_key(key) return prefix .. 'key:' .. key end
function keys.credential(digest) return prefix .. 'credential:' .. digest end
