-- Take up a step of a job: count the delivery, whose number is the token of the lease on it, or say why not.
-- KEYS: record, events, of steps
-- ARGV: step, job id, wake channel, events kept, seconds of the lease, node, a name for this call, the highest version of
--       records that the caller reads, and how many seconds a step that he cannot read waits at first, and at most
-- A step that is run again says so in the events: its tokens so far are void. A call that is repeated, since its answer
-- was lost, is answered as the first time.
-- Returns {'gone'}, {'ended'}, {'early'} (a turn or an integration before its time), {'recorded', steps to come},
-- {'leased'} (somebody else has it), {'delayed'} (it is to be tried again later), {'newer', version} (the caller cannot read
-- it, and it waits for somebody who can), or {'run', time, when its message was
-- published, or '' where that is not known, field, value, ...}.
local w, step, at = steps_at(3), ARGV[1], now()
local record = redis.call('HMGET', KEYS[1], 'status', 'output:' .. step, 'pending', 'released_at', 'lease:' .. step, 'call:' .. step, 'version')
local status, member = record[1], ARGV[2] .. '.' .. step
if not status then return {'gone'} end
if ended(status) then return {'ended'} end
if record[2] then return {'recorded', record[3]} end
if not record[4] then return {'early'} end
if step == 'integration' and tonumber(record[3]) > 0 then return {'early'} end
if record[5] and record[6] ~= ARGV[7] then return {'leased'} end
if redis.call('ZSCORE', w.delayed, member) or waits_for_trial(w, KEYS[1], member, step) then return {'delayed'} end
if is_newer(record[7], ARGV[8]) then
  set_aside(w, KEYS[1], member, step, at, ARGV[9], ARGV[10])
  return {'newer', record[7]}
end

local published
if not record[5] then
  local delivery = redis.call('HINCRBY', KEYS[1], 'deliveries:' .. step, 1)
  redis.call('HSET', KEYS[1], 'lease:' .. step, delivery, 'node:' .. step, ARGV[6], 'call:' .. step, ARGV[7])
  redis.call('ZADD', w.leases, after(at, ARGV[5]), member)
  if delivery > 1 and redis.call('HDEL', KEYS[1], 'retry:' .. step) == 0 then count(w, 'redelivered:' .. step) end
  local name, is_or_was_direct = lane(KEYS[1], step)
  published = redis.call('ZSCORE', w.published .. name, member)
  if published then redis.call('ZREM', w.published .. name, member) end
  if published and not is_or_was_direct then -- else it need not have been in line with the others of its lane
    local latest = redis.call('HGET', w.claimed, name)
    if not latest or tonumber(latest) < tonumber(published) then redis.call('HSET', w.claimed, name, published) end
  end
  if status == 'queued' then
    redis.call('HSET', KEYS[1], 'status', 'running', 'started_at', at)
    emit(KEYS[2], ARGV[4], 'status', '{"status":"running"}')
    redis.call('PUBLISH', ARGV[3], ARGV[2])
  elseif delivery > 1 then
    emit(KEYS[2], ARGV[4], 'status', string.format('{"status":"running","restarted":"%s"}', step))
    redis.call('PUBLISH', ARGV[3], ARGV[2])
  end
end
local fields = redis.call('HGETALL', KEYS[1])
for _, first in ipairs({published or '', at, 'run'}) do table.insert(fields, 1, first) end
return fields
