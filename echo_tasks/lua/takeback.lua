-- Take steps that nobody has claimed off a worker's own queue, with their messages, to be published to all workers next.
-- It is nobody's fault, and counts for nothing.
-- KEYS: of steps     ARGV: what the keys of records begin with, the worker, '1' if it takes nothing any more: its queue is
--                          emptied then, then for each step: its job, its name
-- Returns for each the priority with which it is to be published, or '' when it is in good hands meanwhile.
local w, at, own, taken, replies = steps_at(1), now(), 'direct:' .. ARGV[2], {}, {}
for i = 4, #ARGV, 2 do
  local job, step = ARGV[i], ARGV[i + 1]
  local record, member = ARGV[1] .. job, job .. '.' .. step
  local is_there = redis.call('ZREM', w.published .. own, member) == 1 and lane(record, step) == own
  if is_there then
    to_all(record, step)
    publish(w, record, job, step, at)
    taken[member] = true
  end
  table.insert(replies, is_there and string.match(lane(record, step), ':(%d+)$') or '')
end
for _, list in ipairs(lists_of(ARGV[2])) do
  if ARGV[3] == '1' then
    redis.call('DEL', list)
  elseif next(taken) then
    for _, message in ipairs(redis.call('LRANGE', list, 0, -1)) do
      if taken[cjson.decode(message).headers.id] then redis.call('LREM', list, 0, message) end
    end
  end
end
return replies
