-- Keep the output of a membrane, once, by whoever holds its lease.
-- KEYS: record, open jobs, of steps     ARGV: job id, step, token, output, outcome
-- Returns 'gone', 'ended', 'fenced' when another has taken the step over, or the number of membranes still to come: the
-- same to a caller who asks again because the first answer was lost on its way.
local w, step, token = steps_at(3), ARGV[2], ARGV[3]
local known = redis.call('HMGET', KEYS[1], 'status', 'output:' .. step, 'pending', 'lease:' .. step, 'deliveries:' .. step)
if not known[1] then return 'gone' end
if ended(known[1]) then return 'ended' end
if known[2] then return known[5] == token and known[3] or 'fenced' end
if known[4] ~= token then return 'fenced' end
redis.call('HSET', KEYS[1], 'output:' .. step, ARGV[4])
redis.call('SREM', KEYS[2] .. ':' .. step, ARGV[1]) -- it waits for this membrane no more
let_go(w, KEYS[1], ARGV[1], step)
redis.call('ZREM', w.trials, ARGV[1] .. '.' .. step)
count(w, 'steps:' .. step .. ':' .. ARGV[5])
local pending = redis.call('HINCRBY', KEYS[1], 'pending', -1)
if pending == 0 then publish(w, KEYS[1], ARGV[1], 'integration', now()) end
return tostring(pending)
