-- What the scripts that touch a job's steps share: it is put before each of them, after the prelude.
--
-- A step of a job that was let go, until it is recorded, is in one of three places, as JOB.STEP: in a lane (its message
-- was published), leased (a worker holds it), or delayed (it is to be tried again). `lease:STEP` in the job's record is
-- the token of whoever holds it. `direct:STEP` is the worker to whose own queue the message was published, and '' once
-- that was taken back. A step of which all workers but one of those it may have died is on trial, too: such
-- steps are tried one at a time, lest a job that kills its worker takes others with it for good.

-- The keys that `keys.of_steps` lists in this order, from KEYS[first] on.
local function steps_at(first)
  return {
    leases = KEYS[first], delayed = KEYS[first + 1], deadlines = KEYS[first + 2], claimed = KEYS[first + 3],
    trials = KEYS[first + 4], published = KEYS[first + 5], counts = KEYS[first + 6],
  }
end

-- One more of what is counted for as long as the broker keeps its data; the words are those of `echo_tasks/counts.py`.
local function count(w, what) redis.call('HINCRBY', w.counts, what, 1) end

-- The lane of a step's messages, and the worker whose own it is: `direct:NODE`. All others' are named for the step and
-- the messages' priority, which is that of the job unless they had to be published again.
local function lane(record, step)
  local known = redis.call('HMGET', record, 'direct:' .. step, 'again:' .. step, 'priority')
  if known[1] and known[1] ~= '' then return 'direct:' .. known[1], known[1] end
  return step .. ':' .. (known[2] or known[3] or '1'), known[1]
end

-- Whether a record is of a version that the caller, who reads those up to `latest`, has to leave to others. What is no
-- number he finds out himself.
local function is_newer(version, latest) return (tonumber(version or '1') or 1) > tonumber(latest) end

-- The lists of a worker's own queue, as kombu names them.
local function lists_of(node)
  local names = {'echo.direct.' .. node}
  for behind = 1, 9 do names[behind + 1] = names[1] .. '\6\22' .. behind end
  return names
end

-- Have a step's next message be for all workers again.
local function to_all(record, step)
  if redis.call('HEXISTS', record, 'direct:' .. step) == 1 then redis.call('HSET', record, 'direct:' .. step, '') end
end

-- Note that a step's message is published now, or is about to be.
local function publish(w, record, job, step, at)
  redis.call('ZADD', w.published .. lane(record, step), at, job .. '.' .. step)
end

-- Take the lease of a step away, whoever holds it.
local function let_go(w, record, job, step)
  redis.call('HDEL', record, 'lease:' .. step)
  redis.call('ZREM', w.leases, job .. '.' .. step)
end

-- Have a step that the caller cannot read be published again to all workers after a pause, which grows from `first` to
-- `longest` seconds. It is nobody's fault, and counts for nothing.
local function set_aside(w, record, member, step, at, first, longest)
  local pause = first * 2 ^ (math.min(redis.call('HINCRBY', record, 'refused:' .. step, 1), 32) - 1)
  redis.call('ZREM', w.published .. lane(record, step), member)
  to_all(record, step)
  redis.call('ZADD', w.delayed, after(at, math.min(pause, longest)), member)
end

-- Whether it is a step's turn to be published: it is on trial, and not published, leased or delayed.
local function waits_for_trial(w, record, member, step)
  return redis.call('ZSCORE', w.trials, member) and not redis.call('HGET', record, 'lease:' .. step)
    and not redis.call('ZSCORE', w.published .. lane(record, step), member) and not redis.call('ZSCORE', w.delayed, member)
end

-- Call `act` with each membrane that a job names.
local function each_membrane(record, act)
  for step in string.gmatch(redis.call('HGET', record, 'membranes') or '', '[^,]+') do act(step) end
end

-- Note that the messages of all membranes of a job that have not been taken up are published now.
local function publish_membranes(w, record, job, at)
  redis.call('ZREM', w.delayed, job .. '.dispatch')
  each_membrane(record, function(step)
    local known = redis.call('HMGET', record, 'output:' .. step, 'lease:' .. step)
    if not known[1] and not known[2] then publish(w, record, job, step, at) end
  end)
end

-- Note that no messages of a job's membranes are on their way.
local function leave_lanes(w, record, job)
  each_membrane(record, function(step) redis.call('ZREM', w.published .. lane(record, step), job .. '.' .. step) end)
end

-- Have somebody look after the first job in a session's line, should nobody let it go by that moment.
local function look_after_first(w, line, moment)
  local first = redis.call('LINDEX', line, 0)
  if first then redis.call('ZADD', w.delayed, 'NX', moment, first .. '.dispatch') end
end

-- Have nobody look after a job any more.
local function leave_steps(w, record, job)
  local members = {job .. '.integration', job .. '.dispatch'}
  redis.call('ZREM', w.published .. lane(record, 'integration'), members[1])
  each_membrane(record, function(step)
    table.insert(members, job .. '.' .. step)
    redis.call('ZREM', w.published .. lane(record, step), job .. '.' .. step)
  end)
  for _, key in ipairs({w.leases, w.delayed, w.trials}) do redis.call('ZREM', key, unpack(members)) end
  redis.call('ZREM', w.deadlines, job)
end

-- Whether a step was let go and is not recorded: it is in one of the three places, or waits for its trial.
local function is_under_way(w, record, job, step)
  if redis.call('HEXISTS', record, 'output:' .. step) == 1 then return false end
  if redis.call('HEXISTS', record, 'lease:' .. step) == 1 then return true end
  local member = job .. '.' .. step
  for _, key in ipairs({w.published .. lane(record, step), w.delayed, w.trials}) do
    if redis.call('ZSCORE', key, member) then return true end
  end
  return false
end

-- Count the steps of a job that end with it: all that are under way, unless it succeeds, and `own`, the step of whoever
-- ends it. `end:STEP` in the record tells how, to the first who finds out that the step is over.
local function end_steps(w, record, job, status, own)
  local function end_one(step)
    if step ~= own and (status == 'succeeded' or not is_under_way(w, record, job, step)) then return end
    count(w, 'steps:' .. step .. ':' .. status)
    if step ~= own then redis.call('HSET', record, 'end:' .. step, status) end
  end
  each_membrane(record, end_one)
  end_one('integration')
end

-- Charge a job's owner for what its membranes have left behind, which goes into no answer.
local function charge_outputs(record, at)
  each_membrane(record, function(step)
    local output = redis.call('HGET', record, 'output:' .. step)
    if output then charge(record, at, tokens_of(output)) end
  end)
end

-- End an open job, by whoever holds its step `own`, or by another (''): its record, its idempotency key and its events
-- live `retention` seconds more.
local function close(w, record, open, events, job, status, retention, own)
  local at = now()
  end_steps(w, record, job, status, own)
  if status ~= 'succeeded' then charge_outputs(record, at) end
  count(w, 'jobs:' .. status)
  redis.call('HSET', record, 'status', status, 'finished_at', at)
  leave(record, open, job)
  note_end(open, at)
  leave_steps(w, record, job)
  local key = redis.call('HGET', record, 'idempotency')
  if key then redis.call('EXPIRE', key, retention) end
  redis.call('EXPIRE', record, retention)
  redis.call('EXPIRE', events, retention)
end
