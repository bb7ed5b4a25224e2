-- Append tokens, or none, of steps to their jobs' streams, and wake whoever follows one of them.
-- KEYS: record, events, record, events, ...
-- ARGV: wake channel, events kept, the batch, then for each step: job id, step, token, data or ''
-- A batch that comes again, since its answer was lost, is not written again.
-- Returns for each 1, or 0 when nothing was written: the job has ended or is unknown, or another one holds the step.
local replies, grown = {}, {}
for key = 1, #KEYS, 2 do
  local at = 2 + 2 * key
  local said = 'said:' .. ARGV[at + 1]
  local known = redis.call('HMGET', KEYS[key], 'status', 'lease:' .. ARGV[at + 1], said)
  local is_heard = known[1] and not ended(known[1]) and known[2] == ARGV[at + 2]
  if is_heard and ARGV[at + 3] ~= '' and known[3] ~= ARGV[3] then
    redis.call('HSET', KEYS[key], said, ARGV[3])
    emit(KEYS[key + 1], ARGV[2], 'token', ARGV[at + 3])
    table.insert(grown, ARGV[at])
  end
  table.insert(replies, is_heard and 1 or 0)
end
if #grown > 0 then redis.call('PUBLISH', ARGV[1], table.concat(grown, ',')) end
return replies
