-- What the scripts that touch a session share: it is put before each of them, after the prelude.

-- A session's keys, which `keys.of_session` lists in this order, from KEYS[first] on.
local function session_at(first)
  return {
    record = KEYS[first], turns = KEYS[first + 1], line = KEYS[first + 2],
    memories = KEYS[first + 3], accesses = KEYS[first + 4], live = KEYS[first + 5],
  }
end

-- Whether the session counts as live already, or may. It only reads: a server that is out of memory refuses the write
-- that comes first in a script, and lets all through that follow one which it took.
local function is_live(live, id, at)
  local score = redis.call('ZSCORE', live, id)
  return score and (score == 'inf' or tonumber(score) > tonumber(at))
end

local function has_room(live, id, at, most)
  return is_live(live, id, at) or redis.call('ZCOUNT', live, '(' .. at, '+inf') < tonumber(most)
end

-- Whole seconds until a session that lives to a moment may be gone; one with open jobs has its whole time before it.
local function gone_in(score, at, timeout)
  if not score or score == 'inf' then return tonumber(timeout) end
  return math.max(1, math.ceil(tonumber(score) - tonumber(at)))
end

-- The same of the first of all live sessions that may be gone.
local function room_in(live, at, timeout)
  return gone_in(redis.call('ZRANGEBYSCORE', live, '(' .. at, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2], at, timeout)
end

-- What keeps an owner, whose sessions' ids begin so, from one more: {'spent', 'sessions', bound, seconds until one of
-- them may be gone}; nil when nothing does. A bound of '' is none. It only reads, if need be all live sessions.
local function sessions_spent(live, id, beginning, most, at, timeout)
  if most == '' or is_live(live, id, at) then return end
  local alive, count, first = redis.call('ZRANGEBYSCORE', live, '(' .. at, '+inf', 'WITHSCORES'), 0, nil
  for i = 1, #alive, 2 do
    if string.sub(alive[i], 1, #beginning) == beginning then
      count = count + 1
      first = first or alive[i + 1]
    end
  end
  if count >= tonumber(most) then return {'spent', 'sessions', most, gone_in(first, at, timeout)} end
end

-- Note an activity of a session that exists. It is kept while jobs of it are open, and `timeout` seconds from then on.
local function renew(s, id, at, timeout)
  if redis.call('EXISTS', s.record) == 0 then return end
  redis.call('HSET', s.record, 'last_activity', at)
  local busy = redis.call('EXISTS', s.line) == 1
  for _, key in ipairs({s.record, s.turns, s.memories, s.accesses}) do
    if busy then redis.call('PERSIST', key) else redis.call('EXPIRE', key, timeout) end
  end
  local score = busy and 'inf' or string.format('%.6f', tonumber(at) + tonumber(timeout))
  redis.call('ZADD', s.live, 'XX', score, id)
end

-- Make the session's record unless there is one; `counts`: it is live from now on. Those whose time is over drop out.
local function begin(s, id, at, counts)
  redis.call('HSETNX', s.record, 'created_at', at)
  if counts then redis.call('ZADD', s.live, 'inf', id) end
  redis.call('ZREMRANGEBYSCORE', s.live, '-inf', at)
end

-- How many of the session's turns, the oldest ones, are not kept any more.
local function turns_gone(s)
  return tonumber(redis.call('HGET', s.record, 'turns') or 0) - redis.call('LLEN', s.turns)
end

-- A JSON object with more members. Both are JSON text; neither is empty.
local function extended(object, members)
  return string.sub(object, 1, -2) .. ',' .. members .. '}'
end

-- Append a turn: text is a JSON object, content what its digest is made of. Past the bounds the older half of the
-- turns goes at once, so that the beginning of later prompts, and the states after it, stay the same for long.
local function append_turn(s, text, content, tokens, at, most_turns, most_tokens)
  local digest = redis.sha1hex((redis.call('HGET', s.record, 'digest') or '') .. content)
  local total = redis.call('HINCRBY', s.record, 'tokens', tokens)
  redis.call('HSET', s.record, 'digest', digest)
  redis.call('RPUSH', s.turns, extended(text, string.format('"at":%s,"digest":"%s","total":%d', at, digest, total)))
  local forgotten = tonumber(redis.call('HGET', s.record, 'forgotten') or 0)
  local count = redis.call('LLEN', s.turns)
  while count > 0 and (count > tonumber(most_turns) or total - forgotten > tonumber(most_tokens)) do
    local older = math.ceil(count / 2)
    forgotten = cjson.decode(redis.call('LINDEX', s.turns, older - 1)).total or forgotten -- an older version's has none
    redis.call('LTRIM', s.turns, older, -1)
    redis.call('HSET', s.record, 'forgotten', forgotten)
    count = count - older
  end
  return redis.call('HINCRBY', s.record, 'turns', 1)
end

-- The session's memories, the one of least worth first: by importance, then by age.
local function memories_of(s)
  local found = {}
  for _, text in ipairs(redis.call('HVALS', s.memories)) do table.insert(found, cjson.decode(text)) end
  table.sort(found, function(a, b)
    if a.importance ~= b.importance then return a.importance < b.importance end
    if a.turn ~= b.turn then return a.turn < b.turn end
    return a.id < b.id
  end)
  return found
end

local function forget(s, id)
  redis.call('HDEL', s.memories, id)
  redis.call('HDEL', s.accesses, 'count:' .. id, 'last:' .. id)
end

-- Write down a digest of the memories' contents: neither ids nor times are in it, so that sessions in which the same
-- was said have the same.
local function digest_memories(s, memories)
  local lines = {}
  for _, m in ipairs(memories) do
    table.insert(lines, table.concat({m.turn, m.memory_type, m.importance, m.content}, '|'))
  end
  if #lines == 0 then return redis.call('HDEL', s.record, 'memories') end
  redis.call('HSET', s.record, 'memories', redis.sha1hex(table.concat(lines, '\n')))
end
