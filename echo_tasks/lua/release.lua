-- Let the first job in a session's line go, and fix what it knows of the session: the turns until now.
-- KEYS: session, its line     ARGV: what the keys of records begin with, seconds that publishing may take
-- A job that was let go is let go again only when it has not started and its messages must have been lost.
-- Returns {spec, turns, digest}, or {} when there is nobody to let go.
while true do
  local first = redis.call('LINDEX', KEYS[2], 0)
  if not first then return {} end
  local record = ARGV[1] .. first
  local known = redis.call('HMGET', record, 'status', 'spec', 'released_at', 'past_turns', 'past_digest')
  if known[1] and not ended(known[1]) then
    local at = now()
    if known[3] and (known[1] ~= 'queued' or tonumber(at) - tonumber(known[3]) < tonumber(ARGV[2])) then return {} end
    local turns, digest = known[4], known[5]
    if not known[3] then
      local session = redis.call('HMGET', KEYS[1], 'turns', 'digest')
      turns, digest = session[1] or '0', session[2] or ''
    end
    redis.call('HSET', record, 'released_at', at, 'past_turns', turns, 'past_digest', digest)
    return {known[2], turns, digest}
  end
  redis.call('LPOP', KEYS[2]) -- it has ended, or is gone
end
