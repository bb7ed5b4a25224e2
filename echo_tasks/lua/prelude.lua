-- Shared by every script of the ledger: it is put before each of them.

local function now()
  local t = redis.call('TIME')
  return string.format('%d.%06d', t[1], t[2])
end

local function ended(status)
  return status == 'succeeded' or status == 'failed' or status == 'cancelled'
end

-- Append one event, bounded; the caller publishes the wake-up.
local function emit(stream, maxlen, kind, data)
  redis.call('XADD', stream, 'MAXLEN', '~', maxlen, '*', 'type', kind, 'data', data)
end

-- A moment so many seconds after another one, as a score.
local function after(at, seconds)
  return string.format('%.6f', tonumber(at) + tonumber(seconds))
end
