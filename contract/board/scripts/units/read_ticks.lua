-- Reads the board's own clock.
-- Include: ticks format_time
-- ARGV:
--   prefix  of all keys
-- Returns: its seconds, as text
return format_time(ticks)
