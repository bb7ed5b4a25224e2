-- Give a lease back: the step's message goes back to its queue, or the step is to be tried again later.
-- KEYS: record, of steps     ARGV: job id, step, token, seconds until it is tried again or ''
-- Returns 1, or 0 when the lease was lost already. Who has postponed a step and asks again, since the answer was lost, is
-- answered as the first time.
local w, job, step, at = steps_at(2), ARGV[1], ARGV[2], now()
local known = redis.call('HMGET', KEYS[1], 'status', 'lease:' .. step, 'deliveries:' .. step)
if not known[1] or ended(known[1]) or known[2] ~= ARGV[3] then
  local is_mine = known[3] == ARGV[3] and not known[2] and ARGV[4] ~= ''
  return is_mine and redis.call('ZSCORE', w.delayed, job .. '.' .. step) and 1 or 0
end
if ARGV[4] ~= '' then
  redis.call('ZADD', w.delayed, after(at, ARGV[4]), job .. '.' .. step)
  redis.call('HINCRBY', KEYS[1], 'faults:' .. step, 1)
  redis.call('HSET', KEYS[1], 'retry:' .. step, 1) -- what the next claim is
  count(w, 'retried:' .. step)
elseif redis.call('HGET', KEYS[1], 'direct:' .. step) == '' then -- the message may go back to a queue that it was taken off
  redis.call('ZADD', w.delayed, at, job .. '.' .. step)
else
  publish(w, KEYS[1], job, step, at)
end
let_go(w, KEYS[1], job, step)
return 1
