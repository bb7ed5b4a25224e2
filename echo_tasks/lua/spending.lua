-- What owners of API keys have had: open jobs, and jobs and tokens of the day. It is put before each script.

local DAY_S = 86400

-- What an owner has had today: jobs, tokens. It only reads.
local function spent_today(spent, at)
  local known = redis.call('HMGET', spent, 'day', 'jobs', 'tokens')
  if tonumber(known[1] or -1) ~= math.floor(tonumber(at) / DAY_S) then return 0, 0 end
  return tonumber(known[2] or 0), tonumber(known[3] or 0)
end

-- Note that an owner has had more of something today.
local function spend_today(spent, at, what, amount)
  local day = math.floor(tonumber(at) / DAY_S)
  if tonumber(redis.call('HGET', spent, 'day') or -1) ~= day then
    redis.call('DEL', spent)
    redis.call('HSET', spent, 'day', day)
    redis.call('EXPIRE', spent, DAY_S)
  end
  redis.call('HINCRBY', spent, what, amount)
end

-- The tokens that a step's output, or an answer, says it took; none where it cannot be read.
local function tokens_of(text)
  local is_json, told = pcall(cjson.decode, text)
  local usage = is_json and type(told) == 'table' and told.usage
  if type(usage) ~= 'table' then return 0 end
  return (tonumber(usage.prompt_tokens) or 0) + (tonumber(usage.completion_tokens) or 0)
end

-- Charge a job's owner, if it has one, for tokens that were read and generated for it.
local function charge(record, at, tokens)
  local spent = redis.call('HGET', record, 'spent')
  if spent and tokens > 0 then spend_today(spent, at, 'tokens', tokens) end
end

-- How many open jobs an owner has. Those that a process ended which knows of no owners are looked for only at the bound.
local function open_jobs_of(open, owner, most)
  local own = open .. ':of:' .. owner
  if redis.call('SCARD', own) < most then return 0 end
  for _, job in ipairs(redis.call('SMEMBERS', own)) do
    if not redis.call('ZSCORE', open, job) then redis.call('SREM', own, job) end
  end
  return redis.call('SCARD', own)
end

-- What an owner has no more of: {'spent', quota, bound, seconds until there may be some}; nil when nothing. A bound of ''
-- is none.
local function what_is_spent(open, spent, owner, most_open, most_jobs, most_tokens, at)
  local jobs, tokens = spent_today(spent, at)
  local tomorrow = DAY_S - math.floor(tonumber(at)) % DAY_S
  if most_jobs ~= '' and jobs >= tonumber(most_jobs) then return {'spent', 'jobs', most_jobs, tomorrow} end
  if most_tokens ~= '' and tokens >= tonumber(most_tokens) then return {'spent', 'tokens', most_tokens, tomorrow} end
  if most_open ~= '' and open_jobs_of(open, owner, tonumber(most_open)) >= tonumber(most_open) then
    return {'spent', 'open', most_open, UNKNOWN_S}
  end
end
