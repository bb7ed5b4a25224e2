-- Append events, or none, to the streams of open jobs, and wake whoever follows one of them.
-- KEYS: record, events, record, events, ...
-- ARGV: wake channel, events kept, then for each job: its id, how many events, kind, data, kind, data, ...
-- Returns for each job 1, or 0 when it has ended or is unknown and nothing was written.
local replies, grown, at = {}, {}, 3
for key = 1, #KEYS, 2 do
  local job, events = ARGV[at], tonumber(ARGV[at + 1])
  local status = redis.call('HGET', KEYS[key], 'status')
  local is_open = status and not ended(status)
  if is_open and events > 0 then
    for i = at + 2, at + 2 * events, 2 do emit(KEYS[key + 1], ARGV[2], ARGV[i], ARGV[i + 1]) end
    table.insert(grown, job)
  end
  table.insert(replies, is_open and 1 or 0)
  at = at + 2 + 2 * events
end
if #grown > 0 then redis.call('PUBLISH', ARGV[1], table.concat(grown, ',')) end
return replies
