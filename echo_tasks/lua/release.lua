-- Let the first job in a session's line go, and fix what it knows of the session: the turns and memories until now.
-- Its messages count as published from now on: who lets it go is about to do that.
-- KEYS: the session's, of steps
-- ARGV: what the keys of records begin with, session id, seconds that it is kept, the highest version of records that the
--       caller reads: others let the rest go
-- Returns {spec, turns, turns not kept, digest, digest of memories}, or {} when there is nobody to let go.
local s, w, at, popped = session_at(1), steps_at(7), now(), false
while true do
  local first = redis.call('LINDEX', s.line, 0)
  if not first then
    if popped then renew(s, ARGV[2], at, ARGV[3]) end
    return {}
  end
  local record = ARGV[1] .. first
  local known = redis.call('HMGET', record, 'status', 'spec', 'released_at', 'version')
  if known[1] and not ended(known[1]) then
    if known[3] or is_newer(known[4], ARGV[4]) then return {} end
    local session = redis.call('HMGET', s.record, 'turns', 'digest', 'memories')
    redis.call('HSET', record, 'past_turns', session[1] or '0', 'past_gone', turns_gone(s),
      'past_digest', session[2] or '', 'past_memories', session[3] or '', 'released_at', at)
    publish_membranes(w, record, first, at)
    return {known[2], unpack(redis.call('HMGET', record, 'past_turns', 'past_gone', 'past_digest', 'past_memories'))}
  end
  redis.call('LPOP', s.line) -- it has ended, or is gone
  popped = true
end
