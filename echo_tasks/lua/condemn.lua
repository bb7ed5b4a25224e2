-- End a job whose record cannot be read: it is put aside, and one that says so takes its place.
-- KEYS: record, where it is put, open jobs, events, its session's line or '', of steps
-- ARGV: job id, a spec that stands in for its own, its priority, its error, wake channel, events kept, retention in seconds,
--       all membranes, seconds that dispatching the session's next job may take
-- Returns '1' when this call ended the job, '0' when it had ended, or there was none.
if redis.call('EXISTS', KEYS[1]) == 0 then return '0' end
local is_hash = redis.call('TYPE', KEYS[1]).ok == 'hash'
local had_ended = is_hash and ended(redis.call('HGET', KEYS[1], 'status'))
local w, at, owner = steps_at(6), now(), is_hash and redis.call('HGET', KEYS[1], 'owner')
if is_hash then -- by what it still says of its lanes and sets
  leave_steps(w, KEYS[1], ARGV[1])
  leave(KEYS[1], KEYS[3], ARGV[1])
end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[7])
redis.call('HSET', KEYS[1], 'spec', ARGV[2], 'priority', ARGV[3], 'status', 'queued', 'created_at', at,
  'membranes', ARGV[8], 'error', ARGV[4])
if owner then redis.call('HSET', KEYS[1], 'owner', owner) end
emit(KEYS[4], ARGV[6], 'error', ARGV[4])
close(w, KEYS[1], KEYS[3], KEYS[4], ARGV[1], 'failed', ARGV[7], '')
if KEYS[5] ~= '' then
  redis.call('LREM', KEYS[5], 1, ARGV[1])
  look_after_first(w, KEYS[5], after(at, ARGV[9]))
end
redis.call('PUBLISH', ARGV[5], ARGV[1] .. ' end')
return had_ended and '0' or '1'
