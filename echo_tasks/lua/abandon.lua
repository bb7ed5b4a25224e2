-- Forget a job that its client is told was not accepted, and free its idempotency key, unless it has started.
-- KEYS: record, open jobs, events, its session's, of steps
-- ARGV: job id, session id, seconds that a session is kept, seconds that dispatching the next one may take
-- A session that there is for this job alone goes with it. Returns 1 when the job is gone.
local s, w = session_at(4), steps_at(10)
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then return 0 end
local key = redis.call('HGET', KEYS[1], 'idempotency')
if key then redis.call('DEL', key) end
count(w, 'jobs:abandoned')
local spent = redis.call('HGET', KEYS[1], 'spent')
if spent then spend_today(spent, now(), 'jobs', -1) end
leave_steps(w, KEYS[1], ARGV[1])
leave(KEYS[1], KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('LREM', s.line, 1, ARGV[1])
look_after_first(w, s.line, after(now(), ARGV[4]))
local has_more = redis.call('HINCRBY', s.record, 'jobs', -1) > 0
if not has_more and not redis.call('HGET', s.record, 'opened') and not redis.call('HGET', s.record, 'turns') then
  redis.call('DEL', s.record)
  redis.call('ZREM', s.live, ARGV[2])
end
renew(s, ARGV[2], now(), ARGV[3])
return 1
