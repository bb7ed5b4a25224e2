-- A page of the dead-letter list, the latest first.
-- KEYS: the list, the letters     ARGV: how many to skip, how many at most
local jobs = redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
return #jobs > 0 and redis.call('HMGET', KEYS[2], unpack(jobs)) or {}
