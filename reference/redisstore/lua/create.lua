-- KEYS: sessions; in a store of one part also ids, users.
-- ARGV: reference, record, session ID, its entry in ids, the member of users.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return {'reference taken'} end
if KEYS[2] then
  if redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4]) == 0 then return {'ID taken'} end
  redis.call('ZADD', KEYS[3], 0, ARGV[5])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'ok'}
