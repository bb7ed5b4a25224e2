-- Have a job that waited for an equal one run by itself.
-- KEYS: record, of steps     ARGV: job id
if redis.call('HDEL', KEYS[1], 'follows') == 1 then publish_membranes(steps_at(2), KEYS[1], ARGV[1], now()) end
return 1
