-- Writes consecutive records of one partition of health.scores, or nothing at all.
--
-- KEYS  1 vitals:epoch, 2 vitals:scores, one vitals:score:{name} a name, one vitals:account:{id} a record
-- ARGV  1 id of the epoch, 2 partition ('' for none), 3 its offset as the caller knows it, 4 its next offset,
--       5 '1' when everything of the topic is here, 6 number of names, the names, then by record:
--       account id, offset, revision ('' for a tombstone), message, number of fields and values,
--       fields and values, one value a name ('' for none)
--
-- Returns an outcome a record: 1 written, 2 deleted, 3 known already, 4 older than what is here.
-- Returns nil, and changes nothing, when the cache is not where the caller believes it is: it was emptied, came back
-- from an older snapshot, or somebody else has written.
--
-- An error in the middle undoes nothing. So the offset comes last, and the hash with the version comes last of what an
-- account has: when the caller tries again, everything that was left out is written.
local epoch, all = KEYS[1], KEYS[2]
if redis.call('HGET', epoch, 'id') ~= ARGV[1] then return nil end
local place = 'offset:' .. ARGV[2]
if ARGV[2] ~= '' and (redis.call('HGET', epoch, place) or '') ~= ARGV[3] then return nil end

local names = tonumber(ARGV[6])
local at = 7
for n = 1, names do
  redis.call('SADD', all, ARGV[at])
  at = at + 1
end

local function tell(account, message)
  redis.call('PUBLISH', 'vitals:changes', message)
  redis.call('PUBLISH', 'vitals:changes:' .. account, message)
end

local function delete(key, account, offset, message)
  local known = redis.call('HGET', key, 'offset')
  if not known then return 3 end
  if offset <= tonumber(known) then return 4 end
  for n = 1, names do redis.call('ZREM', KEYS[2 + n], account) end
  redis.call('DEL', key)
  tell(account, message)
  return 2
end

local function write(key, account, offset, revision, message, first, last)
  local known = redis.call('HMGET', key, 'revision', 'offset')
  if known[1] then
    local older = revision - tonumber(known[1])
    if older == 0 then older = offset - tonumber(known[2]) end
    if older == 0 then return 3 end
    if older < 0 then return 4 end
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
  tell(account, message)
  return 1
end

local outcomes = {}
for k = 3 + names, #KEYS do
  local account, offset, revision, message = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local first = at + 5
  local last = first + tonumber(ARGV[at + 4]) - 1
  if revision == '' then
    outcomes[#outcomes + 1] = delete(KEYS[k], account, offset, message)
  else
    outcomes[#outcomes + 1] = write(KEYS[k], account, offset, tonumber(revision), message, first, last)
  end
  at = last + names + 1
end

if ARGV[2] ~= '' then redis.call('HSET', epoch, place, ARGV[4]) end
redis.call('HSET', epoch, 'at', redis.call('TIME')[1])
if ARGV[5] == '1' then redis.call('HSET', epoch, 'complete', '1') end
return outcomes
