-- Delete a session with all that it holds, and cancel its open jobs: whoever still works for one finds it ended, and
-- leaves no turn behind.
-- KEYS: the session's, open jobs, of steps     ARGV: its id, then what `close` needs for each job: key of its record and of its
--                                          events, both with * for its id, wake channel, events kept, retention
-- Returns {'deleted', then for each job that was cancelled: its id, seconds since its acceptance}, or {} when there is no
-- such session.
local s, at = session_at(1), now()
if redis.call('EXISTS', s.record) == 0 then return {} end
local jobs, cancelled = redis.call('LRANGE', s.line, 0, -1), {'deleted'}
redis.call('DEL', s.record, s.turns, s.line, s.memories, s.accesses) -- first: a full server takes what makes room
redis.call('ZREM', s.live, ARGV[1])
for _, job in ipairs(jobs) do
  local record, events = string.gsub(ARGV[2], '%*', job), string.gsub(ARGV[3], '%*', job)
  local known = redis.call('HMGET', record, 'status', 'created_at')
  if known[1] and not ended(known[1]) then
    emit(events, ARGV[5], 'status', '{"status":"cancelled"}')
    close(steps_at(8), record, KEYS[7], events, job, 'cancelled', ARGV[6], '')
    redis.call('PUBLISH', ARGV[4], job .. ' end')
    table.insert(cancelled, job)
    table.insert(cancelled, string.format('%.6f', tonumber(at) - tonumber(known[2] or at)))
  end
end
return cancelled
