-- is_terminal(status): whether a job has ended.
local function is_terminal(status)
  return status == 'succeeded' or status == 'failed' or status == 'cancelled'
end
