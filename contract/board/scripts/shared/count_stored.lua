-- count_stored(items, sums, owner, name, size): counts an item as so many bytes of a tenant's from
-- now on; 0: it is gone. items: bytes of each of the tenant's items; sums: all of them, by tenant.
local function count_stored(items, sums, owner, name, size)
  local more = size - tonumber(redis.call('HGET', items, name) or '0')
  if size > 0 then
    redis.call('HSET', items, name, size)
  else
    redis.call('HDEL', items, name)
  end
  if more ~= 0 then redis.call('HINCRBY', sums, owner, more) end
end
