-- Charge a job's owner for a step that ended with its job: what had been read and generated for it comes to nothing.
-- KEYS: record     ARGV: step, tokens
-- Once a step: a call that comes again, since its answer was lost, charges nothing.
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('HSETNX', KEYS[1], 'charged:' .. ARGV[1], ARGV[2]) == 1 then
  charge(KEYS[1], now(), tonumber(ARGV[2]))
end
