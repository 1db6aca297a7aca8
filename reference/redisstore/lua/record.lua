-- Read before each script. A session's record is: current token (24 bytes),
-- previous token (24), closed at (8), authenticated at (8), and each after its
-- length (4): user, reason, live applications. A token is ID (16) and timestamp (8).
--
-- Numbers are signed, big-endian, with the sign bit turned. They are never
-- made Lua numbers, which are doubles, and never compared by <, which follows
-- the server's locale.
local OPEN = '\128\0\0\0\0\0\0\0'

local function is_open(rec) return rec:sub(49, 56) == OPEN end

local function texts(rec, at)
  local all, text = {}, nil
  while at <= #rec do
    text, at = struct.unpack('>I4c0', rec, at)
    all[#all + 1] = text
  end
  return all
end

local function text(s) return struct.pack('>I4c0', #s, s) end

local function applications(rec)
  local all = texts(rec, 65)
  table.remove(all, 1)
  table.remove(all, 1)
  return all
end

local function later(a, b)
  for i = 1, 8 do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x > y and a or b end
  end
  return a
end

-- close returns the record as a tombstone.
local function close(rec, reason, at)
  local user = struct.unpack('>I4c0', rec, 65)
  return rec:sub(1, 48) .. at .. rec:sub(57, 64) .. text(user) .. text(reason)
end

-- shrink stores a record that is no longer than before. Redis refuses HSET
-- while its memory is full, unless the script has written already; and it
-- never refuses HDEL. So sessions can be closed even then.
local function shrink(key, ref, rec)
  redis.call('HDEL', key, ref)
  redis.call('HSET', key, ref, rec)
end
