-- Let the first job in a session's line go, and fix what it knows of the session: the turns and memories until now.
-- KEYS: the session's
-- ARGV: what the keys of records begin with, seconds that publishing may take, session id, seconds that it is kept
-- A job that was let go is let go again only when it has not started and its messages must have been lost.
-- Returns {spec, turns, turns not kept, digest, digest of memories}, or {} when there is nobody to let go.
local s, at, popped = session_at(1), now(), false
while true do
  local first = redis.call('LINDEX', s.line, 0)
  if not first then
    if popped then renew(s, ARGV[3], at, ARGV[4]) end
    return {}
  end
  local record = ARGV[1] .. first
  local known = redis.call('HMGET', record, 'status', 'spec', 'released_at')
  if known[1] and not ended(known[1]) then
    if not known[3] then
      local session = redis.call('HMGET', s.record, 'turns', 'digest', 'memories')
      redis.call('HSET', record, 'past_turns', session[1] or '0', 'past_gone', turns_gone(s),
        'past_digest', session[2] or '', 'past_memories', session[3] or '')
    elseif known[1] ~= 'queued' or tonumber(at) - tonumber(known[3]) < tonumber(ARGV[2]) then
      return {}
    end
    redis.call('HSET', record, 'released_at', at)
    return {known[2], unpack(redis.call('HMGET', record, 'past_turns', 'past_gone', 'past_digest', 'past_memories'))}
  end
  redis.call('LPOP', s.line) -- it has ended, or is gone
  popped = true
end
