-- KEYS: sessions, http, attributes. ARGV: reference, application, reason and
-- instant for the case that it was the last.
local field = ARGV[1] .. ARGV[2]
local rec = redis.call('HGET', KEYS[1], ARGV[1])
if not rec or redis.call('HDEL', KEYS[2], field) == 0 then return {'unknown'} end
redis.call('HDEL', KEYS[3], field)
local kept = ''
for _, app in ipairs(applications(rec)) do
  if app ~= ARGV[2] then kept = kept .. text(app) end
end
if kept == '' then
  shrink(KEYS[1], ARGV[1], close(rec, ARGV[3], ARGV[4]))
  return {'last'}
end
local all = texts(rec, 65)
shrink(KEYS[1], ARGV[1], rec:sub(1, 64) .. text(all[1]) .. text(all[2]) .. kept)
return {'ok'}
