-- grow(record): a new revision of a job, and of its batch if it is in one.
-- Include: keys
local function grow(record)
  redis.call('HINCRBY', record, 'revision', 1)
  local batch = redis.call('HGET', record, 'batch')
  if batch then redis.call('HINCRBY', keys.batch(batch), 'revision', 1) end
end
