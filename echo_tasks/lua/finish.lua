-- End a job, once: compare-and-set from any open status to a final one.
-- KEYS: record, open jobs, events, session, its turns, its line
-- ARGV: job id, final status, field ('result', 'error' or ''), its value, event kind, event data, wake channel,
--       events kept, retention in seconds, the session's new turn or '', turns kept, seconds that a session is kept
-- Returns {'1', status} when this call ended the job, {'0', status} when it had ended, {} when it is unknown.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {} end
if ended(status) then return {'0', status} end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finished_at', now())
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[6], 1, ARGV[1])
emit(KEYS[3], ARGV[8], ARGV[5], ARGV[6])
local key = redis.call('HGET', KEYS[1], 'idempotency')
if key then redis.call('EXPIRE', key, ARGV[9]) end
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('EXPIRE', KEYS[3], ARGV[9])
if ARGV[10] ~= '' then
  local digest = redis.call('HGET', KEYS[4], 'digest') or ''
  redis.call('HINCRBY', KEYS[4], 'turns', 1)
  redis.call('HSET', KEYS[4], 'digest', redis.sha1hex(digest .. ARGV[10]))
  redis.call('RPUSH', KEYS[5], ARGV[10])
  redis.call('LTRIM', KEYS[5], -ARGV[11], -1)
  redis.call('EXPIRE', KEYS[4], ARGV[12])
  redis.call('EXPIRE', KEYS[5], ARGV[12])
end
redis.call('PUBLISH', ARGV[7], ARGV[1] .. ' end')
return {'1', ARGV[2]}
