-- Make a session of another one's first turns, with the memories that they made.
-- KEYS: the other session's, the new one's     ARGV: new id, how many turns, live sessions at most, seconds it is kept,
--                                        what its owner's sessions' ids begin with, and their bound, or ''
-- Returns {'forked'}, {'unknown'}, {'exists'}, {'full', seconds until one may go}, {'spent', …} (see
-- `sessions_spent`), or {'trimmed', first, last} with the
-- numbers of turns that can be taken.
local from, s, at, count = session_at(1), session_at(7), now(), tonumber(ARGV[2])
if redis.call('EXISTS', from.record) == 0 then return {'unknown'} end
if redis.call('EXISTS', s.record) == 1 then return {'exists'} end
local gone = turns_gone(from)
local first, last = gone > 0 and gone + 1 or 0, gone + redis.call('LLEN', from.turns)
if count < first or count > last then return {'trimmed', first, last} end
if not has_room(s.live, ARGV[1], at, ARGV[3]) then return {'full', room_in(s.live, at, ARGV[4])} end
local many = sessions_spent(s.live, ARGV[1], ARGV[5], ARGV[6], at, ARGV[4])
if many then return many end
begin(s, ARGV[1], at, true)
redis.call('HSET', s.record, 'opened', 1)
if count > 0 then
  redis.call('COPY', from.turns, s.turns)
  redis.call('LTRIM', s.turns, 0, count - gone - 1)
  local turn = cjson.decode(redis.call('LINDEX', s.turns, -1))
  local forgotten = redis.call('HGET', from.record, 'forgotten') or 0
  redis.call('HSET', s.record, 'turns', count, 'digest', turn.digest, 'tokens', turn.total, 'forgotten', forgotten)
  local kept = {}
  for _, m in ipairs(memories_of(from)) do
    if m.turn <= count then
      redis.call('HSET', s.memories, m.id, redis.call('HGET', from.memories, m.id))
      table.insert(kept, m)
    end
  end
  digest_memories(s, kept)
end
renew(s, ARGV[1], at, ARGV[4])
return {'forked'}
