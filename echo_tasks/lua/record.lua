-- Keep the output of a membrane, once. The first writer wins.
-- KEYS: record, open jobs     ARGV: step, output, job id
-- Returns 'gone', 'ended', or the number of membranes still to come: the same to a caller who asks again
-- because the first answer was lost on its way.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if ended(status) then return 'ended' end
if redis.call('HSETNX', KEYS[1], 'output:' .. ARGV[1], ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], 'pending')
end
redis.call('SREM', KEYS[2] .. ':' .. ARGV[1], ARGV[3]) -- it waits for this membrane no more
return tostring(redis.call('HINCRBY', KEYS[1], 'pending', -1))
