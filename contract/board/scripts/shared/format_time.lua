-- format_time(seconds): as times are kept, to the microsecond.
local function format_time(seconds) return string.format('%.6f', seconds) end
