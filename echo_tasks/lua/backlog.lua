-- The open jobs, and which of them wait for each membrane: sets of ids, which whatever ends a job keeps exact.
-- A membrane's set is at the open jobs' key, ':' and its name (`keys.awaiting`), an owner's at that, ':of:' and his
-- (`keys.open_of`). It is put before each script.

local MOST_ENDS, ENDS_KEPT_S = 64, 300
local UNKNOWN_S, LONGEST_S = 10, 60
local MOST_MEMORY = 0.9

-- `membranes` as the record keeps them: 'memory,grammar'; `owner` is '' where the job is nobody's.
local function enter(record, open, job, membranes, owner, at)
  redis.call('HSET', record, 'membranes', membranes)
  if owner ~= '' then
    redis.call('HSET', record, 'owner', owner)
    redis.call('SADD', open .. ':of:' .. owner, job)
  end
  redis.call('ZADD', open, at, job)
  for membrane in string.gmatch(membranes, '[^,]+') do redis.call('SADD', open .. ':' .. membrane, job) end
end

-- The job has ended, or was never accepted; its record is still there.
local function leave(record, open, job)
  local known = redis.call('HMGET', record, 'membranes', 'owner')
  for membrane in string.gmatch(known[1] or '', '[^,]+') do redis.call('SREM', open .. ':' .. membrane, job) end
  if known[2] then redis.call('SREM', open .. ':of:' .. known[2], job) end
  redis.call('ZREM', open, job)
end

-- When the latest jobs ended, for `room_in_backlog`.
local function note_end(open, at)
  redis.call('LPUSH', open .. ':ends', at)
  redis.call('LTRIM', open .. ':ends', 0, MOST_ENDS - 1)
  redis.call('EXPIRE', open .. ':ends', ENDS_KEPT_S)
end

-- Whole seconds in which a tenth of `most` jobs end, at the rate at which the latest ones did: whoever was refused
-- comes back to some room. A constant where too few have ended lately to know.
local function room_in_backlog(open, most, at)
  local ends = redis.call('LLEN', open .. ':ends')
  if ends < 2 then return UNKNOWN_S end
  local per_s = ends / math.max(0.001, tonumber(at) - tonumber(redis.call('LINDEX', open .. ':ends', -1)))
  return math.min(LONGEST_S, math.max(1, math.ceil(tonumber(most) / 10 / per_s)))
end

-- What keeps one more job out: {'crowded', '' for all jobs or the membrane, seconds until there may be room}; nil
-- when it may come. It only reads.
local function what_keeps_out(open, membranes, most, most_per_membrane, at)
  if redis.call('ZCARD', open) >= tonumber(most) then return {'crowded', '', room_in_backlog(open, most, at)} end
  for membrane in string.gmatch(membranes, '[^,]+') do
    if redis.call('SCARD', open .. ':' .. membrane) >= tonumber(most_per_membrane) then
      return {'crowded', membrane, room_in_backlog(open, most_per_membrane, at)}
    end
  end
end

-- Whether the server has little memory left: what there is belongs to the jobs that were accepted, which need it to
-- end. A server that does not tell has enough.
local function is_short_of_memory()
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return false end
  local used, most = string.match(info, 'used_memory:(%d+)'), string.match(info, 'maxmemory:(%d+)')
  return used and most and tonumber(most) > 0 and tonumber(used) > MOST_MEMORY * tonumber(most)
end
