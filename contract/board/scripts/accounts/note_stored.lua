-- Counts an item as so many bytes of a tenant's in the store, from now on.
-- Include: count_stored
-- KEYS:
--   stored  bytes of each item of the tenant's
--   stored_bytes  their sum, by tenant
-- ARGV:
--   tenant  whose it is
--   item  what it is
--   bytes number  0: it is deleted
--   limit number  of the sum; 0 for none
-- Returns: 1, or 0 when it would be more than the limit, and nothing changes
local change = bytes - tonumber(redis.call('HGET', stored, item) or '0')
local total = tonumber(redis.call('HGET', stored_bytes, tenant) or '0') + change
if change > 0 and limit > 0 and total > limit then return 0 end
count_stored(stored, stored_bytes, tenant, item, bytes)
return 1
