-- The first turns of a session, as many as a job knows of, as far as they are kept.
-- KEYS: session, its turns     ARGV: how many
local gone = tonumber(redis.call('HGET', KEYS[1], 'turns') or 0) - redis.call('LLEN', KEYS[2])
local last = tonumber(ARGV[1]) - gone - 1
if last < 0 then return {} end
return redis.call('LRANGE', KEYS[2], 0, last)
