-- Note that the keys are of a schema from now on, unless they are of that or of a later one already.
-- KEYS: the schema     ARGV: its number, the oldest schema whose releases can use the keys
local known = redis.call('HMGET', KEYS[1], 'number', 'compatible_from')
if tonumber(known[1] or '0') >= tonumber(ARGV[1]) then return 0 end
local oldest = math.max(tonumber(known[2] or '0'), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'compatible_from', string.format('%d', oldest))
return 1
