-- What the farm has to do, and who does it. It only reads.
-- KEYS: leased steps, counts, what workers have taken and not acknowledged, how many workers are asked for, then
--       published steps by lane, then the lists of waiting messages
-- ARGV: what the keys of records begin with, how many lanes
-- Returns {time, jobs accepted, steps ended, messages taken, workers asked for or '', when the oldest waiting step was published or '',
-- messages waiting, {node, leases that hold, …}}.
local at, lanes = now(), tonumber(ARGV[2])
local oldest, waiting, held = false, 0, {}
for i = 5, 4 + lanes do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2]
  if first and (not oldest or tonumber(first) < tonumber(oldest)) then oldest = first end
end
for i = 5 + lanes, #KEYS do waiting = waiting + redis.call('LLEN', KEYS[i]) end
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  if tonumber(leases[i + 1]) > tonumber(at) then
    local job, step = string.match(leases[i], '^(.+)%.(%w+)$')
    local node = redis.call('HGET', ARGV[1] .. job, 'node:' .. step) or ''
    held[node] = (held[node] or 0) + 1
  end
end
local ended = 0
local counts = redis.call('HGETALL', KEYS[2])
for i = 1, #counts, 2 do
  if string.sub(counts[i], 1, 6) == 'steps:' then ended = ended + tonumber(counts[i + 1]) end
end
local flat = {}
for node, count in pairs(held) do
  table.insert(flat, node)
  table.insert(flat, count)
end
return {
  at, redis.call('HGET', KEYS[2], 'jobs:accepted') or '0', ended, redis.call('HLEN', KEYS[3]), redis.call('GET', KEYS[4]) or '',
  oldest or '', waiting, flat,
}
