-- Write a new job, or return the one that was made under the same idempotency key.
-- KEYS: record, open jobs, events, idempotency, its session's, of steps, what its owner has spent
-- ARGV: job id, spec, steps to come, key or '', fingerprint, seconds that publishing may take, events kept,
--       session id, '1' if its client named it, live sessions at most, seconds that a session is kept,
--       its membranes, open jobs at most, jobs that wait for a membrane at most, priority, seconds until its deadline or '',
--       its owner or '', and of his open jobs, jobs a day and tokens a day at most, or '', what his sessions' ids begin
--       with, and how many of them may live at most, or '', version of the record
-- Returns {'created'}, {'exists', job id, fingerprint, '1' if its messages were published or are just now}, or
-- {'full', seconds until a session may go} when the client names one more session than may be live, {'crowded', …} (see
-- `what_keeps_out`), {'spent', …} (see `what_is_spent`, `sessions_spent`) or {'short of memory'}. No bound keeps out who comes again with his key.
local s, w, at, named = session_at(5), steps_at(11), now(), ARGV[9] == '1'
if ARGV[4] ~= '' then
  local known = redis.call('HMGET', KEYS[4], 'job_id', 'fingerprint', 'published', 'at')
  if known[1] then
    local underway = tonumber(at) - tonumber(known[4]) < tonumber(ARGV[6])
    return {'exists', known[1], known[2], (known[3] or underway) and '1' or ''}
  end
end
if is_short_of_memory() then return {'short of memory'} end
local crowded = what_keeps_out(KEYS[2], ARGV[12], ARGV[13], ARGV[14], at)
if crowded then return crowded end
local owner = ARGV[17]
local spent = owner ~= '' and what_is_spent(KEYS[2], KEYS[18], owner, ARGV[18], ARGV[19], ARGV[20], at)
if spent then return spent end
if named and not has_room(s.live, ARGV[8], at, ARGV[10]) then return {'full', room_in(s.live, at, ARGV[11])} end
local many = named and sessions_spent(s.live, ARGV[8], ARGV[21], ARGV[22], at, ARGV[11])
if many then return many end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], 'job_id', ARGV[1], 'fingerprint', ARGV[5], 'at', at)
  redis.call('HSET', KEYS[1], 'idempotency', KEYS[4])
end
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'status', 'queued', 'created_at', at, 'pending', ARGV[3])
enter(KEYS[1], KEYS[2], ARGV[1], ARGV[12], owner, at)
if owner ~= '' then
  spend_today(KEYS[18], at, 'jobs', 1)
  redis.call('HSET', KEYS[1], 'spent', KEYS[18])
end
count(w, 'jobs:accepted')
redis.call('HSET', KEYS[1], 'priority', ARGV[15], 'session', ARGV[8])
if ARGV[23] ~= '1' then redis.call('HSET', KEYS[1], 'version', ARGV[23]) end
if ARGV[16] ~= '' then
  redis.call('HSET', KEYS[1], 'deadline', after(at, ARGV[16]))
  redis.call('ZADD', w.deadlines, after(at, ARGV[16]), ARGV[1])
end
if redis.call('RPUSH', s.line, ARGV[1]) == 1 then look_after_first(w, s.line, after(at, ARGV[6])) end
begin(s, ARGV[8], at, named)
redis.call('HINCRBY', s.record, 'jobs', 1)
renew(s, ARGV[8], at, ARGV[11])
emit(KEYS[3], ARGV[7], 'status', '{"status":"queued"}')
return {'created'}
