-- Be the one that a key names, or go on being it.
-- KEYS: the key     ARGV: who asks, milliseconds that it is his from now on
-- Returns 1, or 0 when it is another's.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
