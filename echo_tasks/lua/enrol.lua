-- Write a new key down.
-- KEYS: its record, all keys     ARGV: id, seconds until it expires or '', then its fields with their values
-- Returns 1, or 0 when there is a key of that id.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local at = now()
redis.call('HSET', KEYS[1], 'created_at', at, unpack(ARGV, 3))
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'expires_at', after(at, ARGV[2])) end
redis.call('ZADD', KEYS[2], at, ARGV[1])
return 1
