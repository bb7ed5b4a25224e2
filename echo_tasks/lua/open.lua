-- Make a session by its client's wish.
-- KEYS: the session's     ARGV: its id, live sessions at most, seconds that it is kept, what its owner's
--                             sessions' ids begin with, and how many of those may live at most, or ''
-- Returns {'opened'}, {'exists'}, {'full', seconds until one may go}, or {'spent', …} (see `sessions_spent`).
local s, at = session_at(1), now()
if redis.call('EXISTS', s.record) == 1 then return {'exists'} end
if not has_room(s.live, ARGV[1], at, ARGV[2]) then return {'full', room_in(s.live, at, ARGV[3])} end
local many = sessions_spent(s.live, ARGV[1], ARGV[4], ARGV[5], at, ARGV[3])
if many then return many end
begin(s, ARGV[1], at, true)
redis.call('HSET', s.record, 'opened', 1)
renew(s, ARGV[1], at, ARGV[3])
return {'opened'}
