-- Keep the output of a membrane, once. The first writer wins.
-- KEYS: record     ARGV: step, output
-- Returns 'gone', 'ended', or the number of membranes still to come: the same to a caller who asks again
-- because the first answer was lost on its way.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if ended(status) then return 'ended' end
if redis.call('HSETNX', KEYS[1], 'output:' .. ARGV[1], ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], 'pending')
end
return tostring(redis.call('HINCRBY', KEYS[1], 'pending', -1))
