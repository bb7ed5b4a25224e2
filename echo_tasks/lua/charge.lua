-- Charge a job's owner for a step that ended with its job: what had been read and generated for it comes to nothing.
-- KEYS: record     ARGV: step, token, tokens
-- Once a step, for whoever held it last: neither for one whose step was taken over, nor for what an answer is charged with.
local known = redis.call('HMGET', KEYS[1], 'status', 'deliveries:' .. ARGV[1], 'output:' .. ARGV[1])
if not known[1] or known[1] == 'succeeded' or known[2] ~= ARGV[2] or known[3] then return end
if redis.call('HSETNX', KEYS[1], 'charged:' .. ARGV[1], ARGV[3]) == 1 then charge(KEYS[1], now(), tonumber(ARGV[3])) end
