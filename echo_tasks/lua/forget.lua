-- Take a key away, unless its value has changed meanwhile.
-- KEYS: the key     ARGV: its value
-- Returns whether it was taken away.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
