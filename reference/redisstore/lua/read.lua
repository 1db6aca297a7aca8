-- KEYS: sessions, http, attributes, and ids to find by a session ID.
-- ARGV: references, or one session ID.
-- Answers for each session that is there: reference, record, and for each live
-- application its name, HTTP session and attributes.
local found = {'ok'}
for _, ref in ipairs(ARGV) do
  if KEYS[4] then ref = (redis.call('HGET', KEYS[4], ref) or ''):sub(1, 16) end
  local rec = redis.call('HGET', KEYS[1], ref)
  if rec then
    local one = {ref, rec}
    if is_open(rec) then
      for _, app in ipairs(applications(rec)) do
        one[#one + 1] = app
        one[#one + 1] = redis.call('HGET', KEYS[2], ref .. app)
        one[#one + 1] = redis.call('HGET', KEYS[3], ref .. app) or ''
      end
    end
    found[#found + 1] = one
  end
end
return found
