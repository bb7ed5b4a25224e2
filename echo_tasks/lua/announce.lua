-- Renew a worker's record, stamped by this clock.
-- KEYS: the record, the workers, the wish that it drains
-- ARGV: node, record as a JSON object without the two stamps, seconds since the worker's start, milliseconds that the
--       record lives, seconds that the wish lives
-- Returns 1 when the worker is to drain; that wish then lives as long as the worker.
local at = now()
local stamps = string.format('"started_at":%.3f,"seen_at":%s', tonumber(at) - tonumber(ARGV[3]), at)
redis.call('SET', KEYS[1], extended(ARGV[2], stamps), 'PX', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
return redis.call('EXPIRE', KEYS[3], ARGV[5])
