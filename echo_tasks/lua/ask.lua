-- Ask for more or fewer workers by hand. What was asked for and not done yet counts as done.
-- KEYS: the controller's state, how many are asked for
-- ARGV: 'by' or 'to', number, seconds until the request lapses
-- Returns {'away'}, {'nobody'} (nothing starts and drains workers), {'most', how many may be, why not more}, {'least', as many}, or
-- {'asked', how many that makes}.
local state = redis.call('GET', KEYS[1])
if not state then return {'away'} end
state = cjson.decode(state)
if state.actuator == 'none' then return {'nobody'} end
local wanted = tonumber(ARGV[2])
if ARGV[1] == 'by' then wanted = wanted + tonumber(redis.call('GET', KEYS[2]) or state.desired) end
if wanted > state.most then return {'most', state.most, state.bound or ''} end
if wanted < state.least then return {'least', state.least} end
redis.call('SET', KEYS[2], wanted, 'EX', ARGV[3])
return {'asked', wanted}
