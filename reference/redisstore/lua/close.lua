-- KEYS: sessions, http, attributes. ARGV: reference, reason, instant.
local rec = redis.call('HGET', KEYS[1], ARGV[1])
if not rec then return {'unknown'} end
if not is_open(rec) then return {'closed'} end
for _, app in ipairs(applications(rec)) do
  redis.call('HDEL', KEYS[2], ARGV[1] .. app)
  redis.call('HDEL', KEYS[3], ARGV[1] .. app)
end
shrink(KEYS[1], ARGV[1], close(rec, ARGV[2], ARGV[3]))
return {'ok'}
