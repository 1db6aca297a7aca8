-- KEYS: sessions. ARGV: reference, token.
local rec = redis.call('HGET', KEYS[1], ARGV[1])
if not rec then return {'unknown'} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. rec:sub(25))
return {'ok'}
