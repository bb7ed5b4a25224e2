-- Give a key another secret; the one before stays good for a while.
-- KEYS: the key's record     ARGV: digest of the new secret, seconds that the old one stays good, channel of changes, id
-- Returns 1, or 0 when there is no such key, or it was revoked or has expired.
local known, at = redis.call('HMGET', KEYS[1], 'digest', 'revoked_at', 'expires_at'), now()
if not known[1] or known[2] or (known[3] and tonumber(known[3]) <= tonumber(at)) then return 0 end
redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'old_digest', known[1], 'old_until', after(at, ARGV[2]), 'rotated_at', at)
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
