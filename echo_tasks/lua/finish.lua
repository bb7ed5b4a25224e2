-- End a job, once: compare-and-set from any open status to a final one.
-- KEYS: record, open jobs, events
-- ARGV: job id, final status, field ('result', 'error' or ''), its value, event kind, event data, wake channel,
--       events kept, retention in seconds
-- Returns {'1', status} when this call ended the job, {'0', status} when it had ended, {} when it is unknown.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {} end
if ended(status) then return {'0', status} end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finished_at', now())
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
redis.call('ZREM', KEYS[2], ARGV[1])
emit(KEYS[3], ARGV[8], ARGV[5], ARGV[6])
local key = redis.call('HGET', KEYS[1], 'idempotency')
if key then redis.call('EXPIRE', key, ARGV[9]) end
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('EXPIRE', KEYS[3], ARGV[9])
redis.call('PUBLISH', ARGV[7], ARGV[1] .. ' end')
return {'1', ARGV[2]}
