-- Have a job wait for an equal one that is under way, or have it be the one that equal ones wait for.
-- KEYS: record, flight, the job's own followers, of steps
-- ARGV: job id, what keys of records begin with, what keys of followers end with, priority, stamp, retention in
--       seconds, seconds after which somebody looks whether the other one is still under way
-- Returns the id of the job that it waits for, or '' when it leads. A job that is more urgent than the leader waits for
-- nobody. Those who waited for a leader that is gone wait for the new one.
local w, at = steps_at(4), now()
local leader = redis.call('HMGET', KEYS[2], 'job_id', 'priority')
if leader[1] and leader[1] ~= ARGV[1] then
  local record = ARGV[2] .. leader[1]
  local status = redis.call('HGET', record, 'status')
  local is_open = status and not ended(status)
  if is_open and tonumber(leader[2]) >= tonumber(ARGV[4]) then
    if redis.call('HGET', KEYS[1], 'follows') ~= leader[1] then
      redis.call('HSET', KEYS[1], 'follows', leader[1])
      redis.call('RPUSH', record .. ARGV[3], ARGV[1])
      redis.call('EXPIRE', record .. ARGV[3], ARGV[6])
    end
    leave_lanes(w, KEYS[1], ARGV[1])
    redis.call('ZADD', w.delayed, after(at, ARGV[7]), ARGV[1] .. '.dispatch')
    return leader[1]
  end
  if not is_open then
    for _, follower in ipairs(redis.call('LRANGE', record .. ARGV[3], 0, -1)) do
      if follower ~= ARGV[1] and redis.call('EXISTS', ARGV[2] .. follower) == 1 then
        redis.call('HSET', ARGV[2] .. follower, 'follows', ARGV[1])
        redis.call('RPUSH', KEYS[3], follower)
      end
    end
    redis.call('DEL', record .. ARGV[3])
    redis.call('EXPIRE', KEYS[3], ARGV[6])
  end
end
redis.call('HSET', KEYS[2], 'job_id', ARGV[1], 'priority', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KEYS[1], 'stamp', ARGV[5])
if redis.call('HDEL', KEYS[1], 'follows') == 1 then publish_membranes(w, KEYS[1], ARGV[1], at) end
return ''
