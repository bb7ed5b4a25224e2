-- Forget a job that its client is told was not accepted, and free its idempotency key, unless it has started.
-- KEYS: record, open jobs, events, its session's line     ARGV: job id
-- Returns 1 when the job is gone.
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then return 0 end
local key = redis.call('HGET', KEYS[1], 'idempotency')
if key then redis.call('DEL', key) end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[4], 1, ARGV[1])
return 1
