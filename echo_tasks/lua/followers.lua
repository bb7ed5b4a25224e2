-- The jobs that wait for another one's answer and have not ended.
-- KEYS: followers     ARGV: what the keys of records begin with, the highest version of records that the caller reads: the
--                           rest find out by themselves
-- Returns spec, turns, turns not kept, digest, digest of memories for each.
local found = {}
for _, job in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local record = redis.call('HMGET', ARGV[1] .. job, 'status', 'spec', 'past_turns', 'past_gone', 'past_digest', 'past_memories',
    'version')
  if record[1] and not ended(record[1]) and not is_newer(record[7], ARGV[2]) then
    for i = 2, 6 do table.insert(found, record[i]) end
  end
end
return found
