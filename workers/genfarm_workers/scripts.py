"""What Redis itself runs for a worker, in Lua. Knows no connection."""

#: KEYS: the un-acked hash; then for each queue its bell, its askers, its lists by step.
#: ARGV: tag prefix, how many at most, the largest message that is sent whole, how much of a
#: larger one is, HUNGRY, lists a queue; then for each queue its name, this worker's room, and
#: what it has in hand of it.
#: Returns for each message: queue, tag, size, bytes; and how many messages still wait. An
#: entry is written as kombu writes it.
#: A worker gets its share at most: as many as make its hands as full as those of all who ask.
#: An asker whose time is no number near the server's own is none: the clock was set back, say.
#: Writes that may be refused when memory is short come after RPOP, when the script is let
#: finish, or are tried only.
TAKE_SCRIPT = """
local left, largest, head = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local hungry, steps, queues = tonumber(ARGV[5]), tonumber(ARGV[6]), (#ARGV - 6) / 3
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local taken, want, hands, behind = {}, {}, {}, 0
local function key(q, place) return KEYS[1 + (q - 1) * (steps + 2) + place] end
local function note(q)
  redis.pcall('HSET', key(q, 2), KEYS[1], string.format('%.3f %d', now, hands[q]))
end
local function waiting(q)
  local sum = 0
  for step = 1, steps do
    local n = redis.pcall('LLEN', key(q, 2 + step))
    if type(n) == 'number' then sum = sum + n end
  end
  return sum
end
local function share(q)
  local all, askers, noted = waiting(q) + hands[q], 1, redis.pcall('HGETALL', key(q, 2))
  for i = 1, #noted, 2 do
    local at, held = string.match(noted[i + 1], '^(%d+%.?%d*) (%d+)$')
    if not at or math.abs(now - tonumber(at)) > hungry then
      redis.call('HDEL', key(q, 2), noted[i])
    elseif noted[i] ~= KEYS[1] then
      all, askers = all + tonumber(held), askers + 1
    end
  end
  return math.ceil(all / askers) - hands[q]
end
for q = 1, queues do
  hands[q] = tonumber(ARGV[6 + 3 * q])
  want[q] = waiting(q) > 0 and math.min(tonumber(ARGV[5 + 3 * q]), share(q)) or 0
end
for step = 1, steps do
  for q = 1, queues do
    local count = math.min(left, want[q])
    local found = count > 0 and redis.pcall('RPOP', key(q, 2 + step), count)
    if type(found) == 'table' and not found.err then
      local name = ARGV[4 + 3 * q]
      for _, raw in ipairs(found) do
        local tag = ARGV[1] .. #taken / 4
        redis.call('HSET', KEYS[1], tag, '[' .. raw .. ',"","' .. name .. '"]')
        local shown = #raw > largest and string.sub(raw, 1, head) or raw
        for _, value in ipairs({name, tag, #raw, shown}) do taken[#taken + 1] = value end
      end
      left, want[q], hands[q] = left - #found, want[q] - #found, hands[q] + #found
    end
  end
end
for q = 1, queues do
  note(q)
  local left_here = waiting(q)
  behind = behind + left_here
  if left_here > 0 then redis.pcall('ZADD', key(q, 1), 0, 'rung') end
end
return {taken, behind}
"""

#: KEYS: the un-acked hash. ARGV: the largest entry that is sent whole, how much is sent of the
#: beginning of a larger one and how much of its end; then tags.
#: Returns for each entry that is there: tag, size, its beginning or all of it, its end.
PEEK_SCRIPT = """
local largest, head, tail, found = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}
for i = 4, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry then
    local shown, last = entry, ''
    if #entry > largest then shown, last = string.sub(entry, 1, head), string.sub(entry, -tail) end
    for _, value in ipairs({ARGV[i], #entry, shown, last}) do found[#found + 1] = value end
  end
end
return found
"""
