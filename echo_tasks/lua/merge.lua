-- Merge memories that tell the same, unless the session has changed or a job of it runs, which knows what they were.
-- KEYS: the session's, counts of memories
-- ARGV: the digest of the memories as they were read, then for each merge: who stays, its new text, who goes
-- Returns how many went, 'changed', or 'busy'.
local s = session_at(1)
if redis.call('EXISTS', s.line) == 1 then return 'busy' end
if (redis.call('HGET', s.record, 'memories') or '') ~= ARGV[1] then return 'changed' end
local merged = 0
for i = 2, #ARGV, 3 do
  local stays, goes = ARGV[i], ARGV[i + 2]
  local count = tonumber(redis.call('HGET', s.accesses, 'count:' .. goes) or 0)
  local last = redis.call('HMGET', s.accesses, 'last:' .. stays, 'last:' .. goes)
  redis.call('HSET', s.memories, stays, ARGV[i + 1])
  if count > 0 then redis.call('HINCRBY', s.accesses, 'count:' .. stays, count) end
  if last[2] and tonumber(last[2]) > tonumber(last[1] or 0) then redis.call('HSET', s.accesses, 'last:' .. stays, last[2]) end
  forget(s, goes)
  merged = merged + 1
end
if merged > 0 then
  digest_memories(s, memories_of(s))
  redis.call('HINCRBY', KEYS[7], 'consolidated', merged)
end
return merged
