-- Writes consecutive records of one partition of health.scores, or nothing at all.
--
-- KEYS  1 vitals:epoch, 2 vitals:scores, one vitals:score:{name} a name, one vitals:account:{id} a record
-- ARGV  1 id of the epoch, 2 partition ('' for none), 3 its offset that the caller expects, 4 its next offset,
--       5 '1' when the cache holds the whole topic, 6 number of names, the names, then by record:
--       account id, offset, revision ('' for a tombstone), message, number of fields and values,
--       fields and values, one value a name ('' for none)
--
-- Returns an outcome for each record: 1 written, 2 deleted, 3 repeated, 4 older than the account's version.
-- Returns nil, and changes nothing, when the cache is not at the expected offset: it was emptied, restored from an
-- older snapshot, or written by another sink.
--
-- An error in the middle rolls nothing back. Therefore the offset is written last, and the hash with the version is
-- written last of an account's keys: a retry writes everything that is missing.
local epoch, all = KEYS[1], KEYS[2]
if redis.call('HGET', epoch, 'id') ~= ARGV[1] then return nil end
local offset_field = 'offset:' .. ARGV[2]
if ARGV[2] ~= '' and (redis.call('HGET', epoch, offset_field) or '') ~= ARGV[3] then return nil end

local names = tonumber(ARGV[6])
local arg = 7
for n = 1, names do
  redis.call('SADD', all, ARGV[arg])
  arg = arg + 1
end

local function publish(account, message)
  redis.call('PUBLISH', 'vitals:changes', message)
  redis.call('PUBLISH', 'vitals:changes:' .. account, message)
end

local function delete(key, account, offset, message)
  local known = redis.call('HMGET', key, 'offset', 'partition')
  if not known[1] then return 3 end
  -- A tombstone deletes what its own partition has. Hashes of before 0.2 have no partition.
  if known[2] and known[2] ~= ARGV[2] then return 4 end
  if offset <= tonumber(known[1]) then return 4 end
  for n = 1, names do redis.call('ZREM', KEYS[2 + n], account) end
  redis.call('DEL', key)
  publish(account, message)
  return 2
end

local function write(key, account, offset, revision, message, first, last)
  local known = redis.call('HMGET', key, 'revision', 'offset')
  if known[1] then
    local newer = revision - tonumber(known[1])
    if newer == 0 then newer = offset - tonumber(known[2]) end
    if newer == 0 then return 3 end
    if newer < 0 then return 4 end
  end
  for n = 1, names do
    local value = ARGV[last + n]
    if value == '' then
      redis.call('ZREM', KEYS[2 + n], account)
    else
      redis.call('ZADD', KEYS[2 + n], value, account)
    end
  end
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(ARGV, first, last))
  publish(account, message)
  return 1
end

local outcomes = {}
for k = 3 + names, #KEYS do
  local account, offset, revision, message = ARGV[arg], tonumber(ARGV[arg + 1]), ARGV[arg + 2], ARGV[arg + 3]
  local first = arg + 5
  local last = first + tonumber(ARGV[arg + 4]) - 1
  if revision == '' then
    outcomes[#outcomes + 1] = delete(KEYS[k], account, offset, message)
  else
    outcomes[#outcomes + 1] = write(KEYS[k], account, offset, tonumber(revision), message, first, last)
  end
  arg = last + names + 1
end

if ARGV[2] ~= '' then redis.call('HSET', epoch, offset_field, ARGV[4]) end
redis.call('HSET', epoch, 'at', redis.call('TIME')[1])
if ARGV[5] == '1' then redis.call('HSET', epoch, 'complete', '1') end
return outcomes
