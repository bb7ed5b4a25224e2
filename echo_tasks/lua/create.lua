-- Write a new job, or return the one that was made under the same idempotency key.
-- KEYS: record, open jobs, events, idempotency, its session's, of steps
-- ARGV: job id, spec, steps to come, key or '', fingerprint, seconds that publishing may take, events kept,
--       session id, '1' if its client named it, live sessions at most, seconds that a session is kept, priority,
--       membranes, seconds until its deadline or ''
-- Returns {'created'}, {'exists', job id, fingerprint, '1' if its messages were published or are just now}, or
-- {'full', seconds until a session may go} when the client names one more session than may be live.
local s, w, at, named = session_at(5), steps_at(11), now(), ARGV[9] == '1'
if ARGV[4] ~= '' then
  local known = redis.call('HMGET', KEYS[4], 'job_id', 'fingerprint', 'published', 'at')
  if known[1] then
    local underway = tonumber(at) - tonumber(known[4]) < tonumber(ARGV[6])
    return {'exists', known[1], known[2], (known[3] or underway) and '1' or ''}
  end
end
if named and not has_room(s.live, ARGV[8], at, ARGV[10]) then return {'full', room_in(s.live, at, ARGV[11])} end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], 'job_id', ARGV[1], 'fingerprint', ARGV[5], 'at', at)
  redis.call('HSET', KEYS[1], 'idempotency', KEYS[4])
end
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'queued', 'created_at', at, 'pending', ARGV[3])
redis.call('HSET', KEYS[1], 'priority', ARGV[12], 'membranes', ARGV[13])
if ARGV[14] ~= '' then
  redis.call('HSET', KEYS[1], 'deadline', after(at, ARGV[14]))
  redis.call('ZADD', w.deadlines, after(at, ARGV[14]), ARGV[1])
end
redis.call('ZADD', KEYS[2], at, ARGV[1])
if redis.call('RPUSH', s.line, ARGV[1]) == 1 then look_after_first(w, s.line, after(at, ARGV[6])) end
begin(s, ARGV[8], at, named)
redis.call('HINCRBY', s.record, 'jobs', 1)
renew(s, ARGV[8], at, ARGV[11])
emit(KEYS[3], ARGV[7], 'status', '{"status":"queued"}')
return {'created'}
