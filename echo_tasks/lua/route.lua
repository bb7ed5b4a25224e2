-- Have steps' messages be published to workers' own queues, which is done next.
-- KEYS: record, workers' own queues, of steps     ARGV: job id, then for each step: its name, the worker
-- Returns for each 1, or 0 when its message is not to be published there: it is not in a lane.
local w, at, replies = steps_at(3), now(), {}
for i = 2, #ARGV, 2 do
  local step, node = ARGV[i], ARGV[i + 1]
  local is_published = redis.call('ZREM', w.published .. lane(KEYS[1], step), ARGV[1] .. '.' .. step) == 1
  if is_published then
    redis.call('HSET', KEYS[1], 'direct:' .. step, node)
    publish(w, KEYS[1], ARGV[1], step, at)
    redis.call('ZADD', KEYS[2], at, node)
  end
  table.insert(replies, is_published and 1 or 0)
end
return replies
