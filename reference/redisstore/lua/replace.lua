-- KEYS: sessions; in a store of one part also ids.
-- ARGV: old token, next token; in a store of several parts the reference.
local old, new, ref, ids = ARGV[1], ARGV[2], ARGV[3], KEYS[2]
if ids then
  local entry = redis.call('HGET', ids, old:sub(1, 16))
  if not entry then return {'unknown'} end
  ref = entry:sub(1, 16)
end
local rec = redis.call('HGET', KEYS[1], ref)
if not rec then return {'unknown'} end
if not is_open(rec) then return {'closed'} end
if rec:sub(1, 16) ~= old:sub(1, 16) then return {'spent'} end
if rec:sub(17, 24) ~= old:sub(17, 24) then return {'mismatch'} end
if ids and redis.call('HSETNX', ids, new:sub(1, 16), ref .. new:sub(17, 24)) == 0 then return {'ID taken'} end
redis.call('HSET', KEYS[1], ref, new .. old .. rec:sub(49))
return {'ok'}
