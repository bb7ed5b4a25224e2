-- End a job, once: compare-and-set from any open status to a final one.
-- KEYS: record, open jobs, events, its session's, counts of memories, of steps, dead-letter list, letters
-- ARGV: job id, final status, field ('result', 'error' or ''), its value, event kind, event data, wake channel,
--       events kept, retention in seconds, session id, seconds that a session is kept, the step and the token of
--       the lease that the caller holds or '', its dead letter or '', letters kept, seconds that dispatching the
--       session's next job may take, '1' for a cached answer, the session's new turn or '', what its digest is made
--       of, its tokens, turns kept, their tokens kept, memories kept, how many it used, their ids, and the new ones as
--       JSON objects
-- A session that has been deleted meanwhile is not brought back.
-- Returns {'1', status, seconds since its acceptance} when this call ended the job, {'0', status} when it had ended, {} when it is unknown,
-- {'fenced'} when another one has taken the caller's step over.
local known = redis.call('HMGET', KEYS[1], 'status', 'started_at', 'released_at', 'created_at')
if not known[1] then return {} end
if ended(known[1]) then return {'0', known[1]} end
if ARGV[12] ~= '' and redis.call('HGET', KEYS[1], 'lease:' .. ARGV[12]) ~= ARGV[13] then return {'fenced'} end
local s, w, at = session_at(4), steps_at(11), now()
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
emit(KEYS[3], ARGV[8], ARGV[5], ARGV[6])
close(w, KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[9], ARGV[12])
redis.call('LREM', s.line, 1, ARGV[1])
look_after_first(w, s.line, after(at, ARGV[16]))
redis.call('PUBLISH', ARGV[7], ARGV[1] .. ' end')
if ARGV[14] ~= '' then
  redis.call('ZADD', KEYS[18], at, ARGV[1])
  local owner = redis.call('HGET', KEYS[1], 'owner')
  redis.call('HSET', KEYS[19], ARGV[1], owner and extended(ARGV[14], '"owner":"' .. owner .. '"') or ARGV[14])
  count(w, 'letters')
  while redis.call('ZCARD', KEYS[18]) > tonumber(ARGV[15]) do
    redis.call('HDEL', KEYS[19], redis.call('ZPOPMIN', KEYS[18])[1])
  end
end
if ARGV[3] == 'result' then charge(KEYS[1], at, tokens_of(ARGV[4])) end
local reply = {'1', ARGV[2], string.format('%.6f', tonumber(at) - tonumber(known[4] or at))}
if redis.call('EXISTS', s.record) == 0 then return reply end

if ARGV[2] ~= 'cancelled' then
  local elapsed_us = math.floor(1e6 * (tonumber(at) - tonumber(known[2] or known[3] or at)))
  redis.call('HINCRBY', s.record, 'processing_us', elapsed_us)
  redis.call('HINCRBY', s.record, ARGV[2], 1)
  if ARGV[17] == '1' then redis.call('HINCRBY', s.record, 'cache_hits', 1) end
end
if ARGV[18] ~= '' then
  local turn = append_turn(s, ARGV[18], ARGV[19], ARGV[20], at, ARGV[21], ARGV[22])
  local first_new = 25 + ARGV[24]
  for i = 25, first_new - 1 do
    if redis.call('HEXISTS', s.memories, ARGV[i]) == 1 then
      redis.call('HINCRBY', s.accesses, 'count:' .. ARGV[i], 1)
      redis.call('HSET', s.accesses, 'last:' .. ARGV[i], at)
      redis.call('HINCRBY', KEYS[10], 'recalled', 1)
    end
  end
  for i = first_new, #ARGV do
    local id = string.format('%d-%d', turn, i - first_new + 1)
    redis.call('HSET', s.memories, id, extended(ARGV[i], string.format('"id":"%s","turn":%d,"made_at":%s', id, turn, at)))
    redis.call('HINCRBY', KEYS[10], 'stored', 1)
  end
  if #ARGV >= first_new then
    local memories = memories_of(s)
    while #memories > tonumber(ARGV[23]) do
      forget(s, table.remove(memories, 1).id)
      redis.call('HINCRBY', KEYS[10], 'dropped', 1)
    end
    digest_memories(s, memories)
  end
end
renew(s, ARGV[10], at, ARGV[11])
return reply
