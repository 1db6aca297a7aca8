-- KEYS: sessions, http, attributes. ARGV: reference, application, instant; to
-- store attributes also the version read, the next one, and the attributes.
-- An HTTP session is: ID (16), created at, last access, idle, version (8 each).
local rec = redis.call('HGET', KEYS[1], ARGV[1])
if not rec then return {'unknown'} end
if not is_open(rec) then return {'closed'} end
local field = ARGV[1] .. ARGV[2]
local h = redis.call('HGET', KEYS[2], field)
if not h then return {'unknown'} end
local version = h:sub(41, 48)
if ARGV[4] then
  if version ~= ARGV[4] then return {'conflict'} end
  version = ARGV[5]
end
redis.call('HSET', KEYS[2], field, h:sub(1, 24) .. later(h:sub(25, 32), ARGV[3]) .. h:sub(33, 40) .. version)
if ARGV[6] == '' then
  redis.call('HDEL', KEYS[3], field)
elseif ARGV[6] then
  redis.call('HSET', KEYS[3], field, ARGV[6])
end
return {'ok'}
