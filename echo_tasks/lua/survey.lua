-- What one reaper at a time has to see to. It only reads, but for the reaper's own time and the indices of live sessions
-- and of workers' own queues.
-- KEYS: the reaper, live sessions, workers' own queues, of steps, then for each lane: its published steps, and the queue
--       of their messages
-- ARGV: who asks, milliseconds that it reaps from now on, what the keys of records begin with, at most how many of each
--       kind, what the keys of workers' records begin with, and those of wishes that they drain, seconds that a message
--       may wait in a worker's own queue, seconds that a queue is known after its last use, then for each lane its name
-- Returns {} when another one reaps, or {time, leases that have expired with their tokens, delayed steps that are due and the
-- one whose turn it is to be on trial,
-- jobs past their deadline, jobs to be dispatched with status, whether they were let go, whom they follow and the
-- status of that and the version of its record, lanes that are not empty with the number of messages waiting and the latest publication claimed, workers
-- with '1' if they take nothing any more and the steps that have waited for them too long}.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local w, at, most = steps_at(4), now(), ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', at)

local function due(key) return redis.call('ZRANGEBYSCORE', key, '-inf', at, 'LIMIT', 0, most) end

local leases, delayed, dispatch, lanes, directs = {}, {}, {}, {}, {}
for _, member in ipairs(due(w.leases)) do
  local job, step = string.match(member, '^(.+)%.(%w+)$')
  table.insert(leases, {job, step, redis.call('HGET', ARGV[3] .. job, 'lease:' .. step) or ''})
end
for _, member in ipairs(due(w.delayed)) do
  local job, step = string.match(member, '^(.+)%.(%w+)$')
  if step ~= 'dispatch' then
    table.insert(delayed, {job, step})
  else
    local known = redis.call('HMGET', ARGV[3] .. job, 'status', 'released_at', 'follows', 'version')
    local leader = known[3] and redis.call('HGET', ARGV[3] .. known[3], 'status')
    table.insert(dispatch, {job, known[1] or '', known[2] and '1' or '', known[3] or '', leader or '', known[4] or ''})
  end
end
local trial = redis.call('ZRANGE', w.trials, 0, 0)[1]
if trial then
  local job, step = string.match(trial, '^(.+)%.(%w+)$')
  if waits_for_trial(w, ARGV[3] .. job, trial, step) then table.insert(delayed, {job, step}) end
end
for i = 9, #ARGV do
  local key = 11 + 2 * (i - 9)
  if redis.call('EXISTS', KEYS[key]) == 1 then
    table.insert(lanes, {ARGV[i], redis.call('LLEN', KEYS[key + 1]), redis.call('HGET', w.claimed, ARGV[i]) or '0'})
  end
end
local queues = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #queues, 2 do
  local node, published = queues[i], w.published .. 'direct:' .. queues[i]
  local is_gone = redis.call('EXISTS', ARGV[5] .. node) == 0 or redis.call('EXISTS', ARGV[6] .. node) == 1
  local before = is_gone and '+inf' or after(at, -ARGV[7])
  local steps = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', published, '-inf', before, 'LIMIT', 0, most)) do
    table.insert(steps, {string.match(member, '^(.+)%.(%w+)$')})
  end
  if #steps > 0 or (is_gone and redis.call('EXISTS', unpack(lists_of(node))) > 0) then
    table.insert(directs, {node, is_gone and '1' or '', steps})
  elseif tonumber(queues[i + 1]) < tonumber(at) - ARGV[8] and redis.call('EXISTS', published) == 0 then
    redis.call('ZREM', KEYS[3], node)
  end
end
return {at, leases, delayed, due(w.deadlines), dispatch, lanes, directs}
