-- Take up a step of a job: count the delivery, and say whether there is anything left to do.
-- KEYS: record, events     ARGV: step, job id, wake channel, events kept
-- A step that is run again says so in the events: its tokens so far are void.
-- Returns {'gone'}, {'ended'}, {'early'} (a turn or an integration before its time), {'recorded', steps to come} or {'run', time, field, value, field, value, ...}.
local record = redis.call('HMGET', KEYS[1], 'status', 'output:' .. ARGV[1], 'pending', 'released_at')
local status = record[1]
if not status then return {'gone'} end
if ended(status) then return {'ended'} end
if record[2] then return {'recorded', record[3]} end
if not record[4] then return {'early'} end
if ARGV[1] == 'integration' and tonumber(record[3]) > 0 then return {'early'} end
local delivery = redis.call('HINCRBY', KEYS[1], 'deliveries:' .. ARGV[1], 1)
if status == 'queued' then
  redis.call('HSET', KEYS[1], 'status', 'running', 'started_at', now())
  emit(KEYS[2], ARGV[4], 'status', '{"status":"running"}')
  redis.call('PUBLISH', ARGV[3], ARGV[2])
elseif delivery > 1 then
  emit(KEYS[2], ARGV[4], 'status', string.format('{"status":"running","restarted":"%s"}', ARGV[1]))
  redis.call('PUBLISH', ARGV[3], ARGV[2])
end
local fields = redis.call('HGETALL', KEYS[1])
table.insert(fields, 1, now())
table.insert(fields, 1, 'run')
return fields
