-- Write a new job, or return the one that was made under the same idempotency key.
-- KEYS: record, open jobs, events, idempotency, its session's line     ARGV: job id, spec, steps to come, key or '', fingerprint,
--                                                        seconds that publishing may take, events kept
-- Returns {'created'} or {'exists', job id, fingerprint, '1' if its messages were published or are just now}.
local at = now()
if ARGV[4] ~= '' then
  local known = redis.call('HMGET', KEYS[4], 'job_id', 'fingerprint', 'published', 'at')
  if known[1] then
    local underway = tonumber(at) - tonumber(known[4]) < tonumber(ARGV[6])
    return {'exists', known[1], known[2], (known[3] or underway) and '1' or ''}
  end
  redis.call('HSET', KEYS[4], 'job_id', ARGV[1], 'fingerprint', ARGV[5], 'at', at)
  redis.call('HSET', KEYS[1], 'idempotency', KEYS[4])
end
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'queued', 'created_at', at, 'pending', ARGV[3])
redis.call('ZADD', KEYS[2], at, ARGV[1])
redis.call('RPUSH', KEYS[5], ARGV[1])
emit(KEYS[3], ARGV[7], 'status', '{"status":"queued"}')
return {'created'}
