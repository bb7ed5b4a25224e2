-- Append events, or none, to an open job's stream.
-- KEYS: record, events     ARGV: job id, wake channel, events kept, then kind, data, kind, data, ...
-- Returns 1, or 0 when the job has ended or is unknown and nothing was written.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or ended(status) then return 0 end
for i = 4, #ARGV, 2 do emit(KEYS[2], ARGV[3], ARGV[i], ARGV[i + 1]) end
if #ARGV > 3 then redis.call('PUBLISH', ARGV[2], ARGV[1]) end
return 1
