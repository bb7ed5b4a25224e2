-- Take steps from those who do not see to them any more, so that they are published again, before all others.
-- KEYS: of steps
-- ARGV: what the keys of records begin with, the highest priority, leases that may die, then for each step: its job,
--       its name, the token of a lease that has expired or '', the lane whose message is lost or '' (both '': it is to
--       be tried again now)
-- Returns for each {'publish', leases that died, messages that were lost}, {'wait'} when it has one try left and has to
-- wait for it, {'held'} when it is in good hands meanwhile, or {'over'} when it is recorded or its job has ended.
local w, at = steps_at(1), now()

local function requeue(job, step, token, lost)
  local record, member = ARGV[1] .. job, job .. '.' .. step
  local known = redis.call('HMGET', record, 'status', 'output:' .. step, 'lease:' .. step)
  if not known[1] or ended(known[1]) or known[2] then
    redis.call('ZREM', w.leases, member)
    redis.call('ZREM', w.delayed, member)
    redis.call('ZREM', w.trials, member)
    if lost ~= '' then redis.call('ZREM', w.published .. lost, member) end
    return {'over'}
  end
  if (known[3] or '') ~= token then return {'held'} end
  if token ~= '' and tonumber(redis.call('ZSCORE', w.leases, member) or 0) > tonumber(at) then return {'held'} end
  redis.call('ZREM', w.published .. lane(record, step), member)
  redis.call('HSET', record, 'again:' .. step, ARGV[2])
  to_all(record, step)
  redis.call('ZREM', w.delayed, member)
  let_go(w, record, job, step)
  local deaths = redis.call('HINCRBY', record, 'deaths:' .. step, token ~= '' and 1 or 0)
  if token ~= '' and deaths == ARGV[3] - 1 then
    redis.call('ZADD', w.trials, at, member)
    return {'wait'}
  end
  publish(w, record, job, step, at)
  return {'publish', deaths, redis.call('HINCRBY', record, 'losses:' .. step, lost ~= '' and 1 or 0)}
end

local replies = {}
for i = 4, #ARGV, 4 do table.insert(replies, requeue(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])) end
return replies
