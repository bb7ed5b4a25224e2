-- Renew leases.
-- KEYS: of steps     ARGV: what the keys of records begin with, seconds of a lease, then job, step, token for each
-- Returns for each 1, or 0 when it is lost: another has taken the step over, or the job has ended.
local w, moment, replies = steps_at(1), after(now(), ARGV[2]), {}
for i = 3, #ARGV, 3 do
  local known = redis.call('HMGET', ARGV[1] .. ARGV[i], 'status', 'lease:' .. ARGV[i + 1])
  local held = known[1] and not ended(known[1]) and known[2] == ARGV[i + 2]
  if held then redis.call('ZADD', w.leases, moment, ARGV[i] .. '.' .. ARGV[i + 1]) end
  table.insert(replies, held and 1 or 0)
end
return replies
