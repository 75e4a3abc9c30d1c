-- The scripts of contract/board/scripts, as `python -m polyseme.contract.board.scripts` writes them:
-- Redis runs them with Lua 5.1. What they include may use their names for its own parameters.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
redefined = false
max_line_length = 100
