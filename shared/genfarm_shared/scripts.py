"""What Redis itself runs for a broker, in Lua. Knows no connection."""

#: Puts one message back, whole or not at all, though its caller be killed meanwhile.
#: KEYS: the un-acked hash, the list, the bell. ARGV: the field, the message.
#: Returns 1 when this call put it back. The removal is first because a write may be refused
#: only as a script's first, when memory is short, and removals never are; a list that is none
#: leaves the entry where it was.
RESTORE_SCRIPT = """
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local pushed = redis.pcall('RPUSH', KEYS[2], ARGV[2])
if type(pushed) == 'table' and pushed.err then
  redis.call('HSET', KEYS[1], ARGV[1], entry)
  return 0
end
redis.pcall('ZADD', KEYS[3], 0, 'rung')
return 1
"""
