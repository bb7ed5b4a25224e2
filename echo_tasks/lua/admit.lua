-- Let a request in: how its key stands, and whether its holder has not asked too often. A wrong key counts for the
-- address that showed it, never for the key, whose id is no secret.
-- KEYS: the key's record, what the key has asked for, what the address has
-- ARGV: digest of the secret, requests a minute of who has no bound of his own, 0 for no limit,
--       seconds after which the time of a key's last use is noted anew, '' for a request that was counted before
-- The record's fields are those of `echo_tasks/access/grants.py`, with `digest` of its secret, and `old_digest` of the
-- one before.
-- Returns {standing, time, limit, left, seconds until all are, seconds until one is if this was one too many, the record}.
local at = now()

-- 'good', 'unknown', 'expired' or 'revoked'. Only who has a secret is told that it is not good any more. Lua keeps each
-- text once, so that comparing two takes the same time wherever they differ.
local function standing_of(record, digest)
  local known = redis.call('HMGET', record, 'digest', 'old_digest', 'old_until', 'expires_at', 'revoked_at')
  local is_old = known[2] == digest and tonumber(known[3] or 0) > tonumber(at)
  if not known[1] or not (known[1] == digest or is_old) then return 'unknown' end
  if known[5] then return 'revoked' end
  if known[4] and tonumber(known[4]) <= tonumber(at) then return 'expired' end
  return 'good'
end

-- A bucket of `limit` requests that fills again in a minute, kept as the moment when it will be full (GCRA).
-- A server without room, or one that takes no writes, lets requests through uncounted: what they do is another matter.
local function spend(bucket, limit)
  if limit <= 0 then return 0, 0, '0', '0' end
  local gap, here = 60 / limit, tonumber(at)
  local full = math.max(tonumber(redis.call('GET', bucket) or 0), here)
  local room = here + 60 - full
  if room + 1e-6 < gap then return limit, 0, string.format('%.3f', full - here), string.format('%.3f', math.max(0.001, gap - room)) end
  redis.pcall('SET', bucket, string.format('%.6f', full + gap), 'PX', math.ceil(1000 * (full + gap - here)))
  return limit, math.floor((room - gap + 1e-6) / gap), string.format('%.3f', full + gap - here), '0'
end

local standing = standing_of(KEYS[1], ARGV[1])
local bucket, limit = KEYS[3], ARGV[2]
if standing == 'good' then
  bucket, limit = KEYS[2], redis.call('HGET', KEYS[1], 'requests_per_minute') or ARGV[2]
  local last = redis.call('HGET', KEYS[1], 'last_used_at')
  if not last or tonumber(at) - tonumber(last) > tonumber(ARGV[3]) then
    redis.pcall('HSET', KEYS[1], 'last_used_at', at)
  end
end
local most, left, whole, next = spend(bucket, ARGV[4] ~= '' and tonumber(limit) or 0)
return {standing, at, most, left, whole, next, redis.call('HGETALL', KEYS[1])}
