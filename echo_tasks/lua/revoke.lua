-- Have a key be good for nothing from now on; its record stays, to tell whose jobs and sessions there are.
-- KEYS: the key's record, what it has asked for     ARGV: channel of changes, id
-- Returns 1, or 0 when there is no such key.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('DEL', KEYS[2]) -- first: a full server takes what makes room
redis.call('HSETNX', KEYS[1], 'revoked_at', now())
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
