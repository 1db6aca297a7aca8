-- KEYS: sessions, http, attributes.
-- ARGV: reference, application, HTTP session, its attributes or nothing.
local rec = redis.call('HGET', KEYS[1], ARGV[1])
if not rec then return {'unknown'} end
if not is_open(rec) then return {'closed'} end
local field = ARGV[1] .. ARGV[2]
local live = redis.call('HGET', KEYS[2], field)
if live then return {'ok', live, redis.call('HGET', KEYS[3], field) or ''} end
redis.call('HSET', KEYS[1], ARGV[1], rec .. text(ARGV[2]))
redis.call('HSET', KEYS[2], field, ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], field, ARGV[4]) end
return {'ok'}
