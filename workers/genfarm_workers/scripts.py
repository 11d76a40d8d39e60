"""What Redis itself runs for a worker, in Lua. Knows no connection."""

#: KEYS: the un-acked hash; then for each queue its bell, its askers, its lists by step.
#: ARGV: tag prefix, how many at most, the largest message that is sent whole, how much of a
#: larger one is, HUNGRY, lists a queue; then for each queue its name, this worker's room, and
#: what it has in hand of it.
#: Returns how many messages still wait; then for each list that gave some: its queue, the number
#: of the first (its tag is the prefix and that number), their sizes, and their bytes in one
#: piece. A reply of few pieces, because Python reads each of them for itself.
#: An entry is written as kombu writes it, and 128 at a time: Lua hands over no endless list.
#: A worker gets its share at most: as many as make its hands as full as those of all who ask.
#: An asker whose time is no number near the server's own is none: the clock was set back, say.
#: Writes that may be refused when memory is short come after RPOP, when the script is let
#: finish, or are tried only.
TAKE_SCRIPT = """
local left, largest, head = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local hungry, steps, queues = tonumber(ARGV[5]), tonumber(ARGV[6]), (#ARGV - 6) / 3
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local reply, want, hands, there, number, fields = {0}, {}, {}, {}, 0, 256
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
  local all, askers, noted = there[q] + hands[q], 1, redis.pcall('HGETALL', key(q, 2))
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
  there[q] = waiting(q)
  want[q] = there[q] > 0 and math.min(tonumber(ARGV[5 + 3 * q]), share(q)) or 0
end
for step = 1, steps do
  for q = 1, queues do
    local count = math.min(left, want[q])
    local found = count > 0 and redis.pcall('RPOP', key(q, 2 + step), count)
    if type(found) == 'table' and not found.err then
      local name, first, entries, sizes = ARGV[4 + 3 * q], number, {}, {}
      for i, raw in ipairs(found) do
        entries[#entries + 1] = ARGV[1] .. number
        entries[#entries + 1] = '[' .. raw .. ',"","' .. name .. '"]'
        number, sizes[i] = number + 1, #raw
        if #raw > largest then found[i] = string.sub(raw, 1, head) end
      end
      for i = 1, #entries, fields do
        redis.call('HSET', KEYS[1], unpack(entries, i, math.min(i + fields - 1, #entries)))
      end
      local values = {name, first, table.concat(sizes, ' '), table.concat(found)}
      for _, value in ipairs(values) do reply[#reply + 1] = value end
      left, want[q] = left - #found, want[q] - #found
      hands[q], there[q] = hands[q] + #found, there[q] - #found
    end
  end
end
for q = 1, queues do
  note(q)
  reply[1] = reply[1] + there[q]
  if there[q] > 0 then redis.pcall('ZADD', key(q, 1), 0, 'rung') end
end
return reply
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
