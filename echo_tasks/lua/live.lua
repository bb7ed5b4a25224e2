-- The live sessions whose ids begin with something: those with open jobs first, then by last activity, the latest first.
-- KEYS: live sessions     ARGV: what the ids begin with, how many to skip, how many at most
-- Returns {how many there are, ids}. All live sessions are looked at, unless any beginning will do.
local alive = '(' .. now()
if ARGV[1] == '' then
  return {
    redis.call('ZCOUNT', KEYS[1], alive, '+inf'),
    redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', alive, 'LIMIT', ARGV[2], ARGV[3]),
  }
end
local found, count, skip, most = {}, 0, tonumber(ARGV[2]), tonumber(ARGV[3])
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', alive)) do
  if string.sub(id, 1, #ARGV[1]) == ARGV[1] then
    count = count + 1
    if count > skip and #found < most then table.insert(found, id) end
  end
end
return {count, found}
