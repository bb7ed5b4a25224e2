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

-- End an open job: its record, its idempotency key and its events live `retention` seconds more.
local function close(record, open, events, job, status, retention)
  local at = now()
  redis.call('HSET', record, 'status', status, 'finished_at', at)
  leave(record, open, job)
  note_end(open, at)
  local key = redis.call('HGET', record, 'idempotency')
  if key then redis.call('EXPIRE', key, retention) end
  redis.call('EXPIRE', record, retention)
  redis.call('EXPIRE', events, retention)
end
