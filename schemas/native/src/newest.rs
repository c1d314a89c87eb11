//! The newest value of each key, of changelog records of which a partition has many.
//!
//! A key and its value, packed, lie one behind the other in one block of memory. Which of two values is newer is described
//! by the caller, which has the same rule in Python (`stream/recovery/record_form.py`).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::packed::{pack, unpack};
use crate::texts::Spans;

const NUMBER: usize = 8;
/// A quarter more room is left for a value that is longer than the one before it.
const SPARE: usize = 4;
const SMALLEST_TABLE: usize = 64;
/// Lengths are compared modulo this.
const LENGTHS: usize = 48;
const FREE: u64 = 0;
const REMOVED: u64 = u64::MAX;

/// Where the age of a value is, and which values have one.
pub struct Ages {
    /// Where the number begins, of 8 bytes.
    pub at: usize,
    /// The first byte of a value that has an age, if it matters.
    pub version: Option<u8>,
    /// A bit for each remainder that the length of such a value has.
    pub lengths: u64,
    /// The smallest number that is an age.
    pub least: i64,
}

impl Ages {
    fn of(&self, value: &[u8]) -> Option<i64> {
        let number = value.get(self.at..self.at + NUMBER)?;
        let age = i64::from_le_bytes(number.try_into().ok()?);
        let versioned = self.version.map_or(true, |version| value[0] == version);
        let whole = versioned && self.lengths >> (value.len() % LENGTHS) & 1 == 1 && age >= self.least;
        if whole {
            Some(age)
        } else {
            None
        }
    }
}

struct Slot {
    /// Where the key begins; the value follows it.
    start: usize,
    key: u32,
    /// Bytes of the value as it is stored, and that it may take where it lies.
    packed: u32,
    room: u32,
    length: u32,
    alive: bool,
    age: Option<i64>,
}

impl Slot {
    fn value_start(&self) -> usize {
        self.start + self.key as usize
    }

    fn size(&self) -> usize {
        self.key as usize + self.room as usize
    }
}

/// Slots are in the order in which keys came; one that is removed is not used again.
pub struct Newest {
    ages: Ages,
    least_garbage: usize,
    hashes: RandomState,
    /// A half of the hash and the number of the slot from 1, of each key.
    table: Vec<u64>,
    /// Entries of the table that are not free.
    used: usize,
    slots: Vec<Slot>,
    alive: usize,
    block: Vec<u8>,
    garbage: usize,
    packed: Vec<u8>,
}

impl Newest {
    /// `least_garbage` is how many bytes of superseded values are left where they are.
    pub fn new(ages: Ages, least_garbage: usize) -> Self {
        Newest {
            ages,
            least_garbage,
            hashes: RandomState::new(),
            table: vec![FREE; SMALLEST_TABLE],
            used: 0,
            slots: Vec::new(),
            alive: 0,
            block: Vec::new(),
            garbage: 0,
            packed: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.alive
    }

    pub fn bytes(&self) -> usize {
        self.block.len() + self.table.len() * NUMBER + self.slots.len() * std::mem::size_of::<Slot>()
    }

    /// Add records in the order of the log; a value that is none deletes. `None` if a value is not in the buffer.
    pub fn put_all(&mut self, keys: &Spans, values: &Spans) -> Option<()> {
        for index in 0..keys.len() {
            self.put(keys.get(index).unwrap_or_default(), value_of(values, index)?)?;
        }
        Some(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<()> {
        let hash = self.hash(key);
        let known = self.find(hash, key);
        match (known, value) {
            (Ok(entry), Some(value)) => self.replace(slot_number(self.table[entry]), value)?,
            (Ok(entry), None) => self.remove(entry),
            (Err(entry), Some(value)) => self.insert(entry, hash, key, value)?,
            (Err(_), None) => (),
        }
        if self.garbage > self.least_garbage.max(self.block.len() / 4) {
            self.compact();
        }
        Some(())
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The entry of a key, or the one in which it would be.
    fn find(&self, hash: u64, key: &[u8]) -> Result<usize, usize> {
        let mask = self.table.len() - 1;
        let mut entry = hash as usize & mask;
        loop {
            let in_table = self.table[entry];
            if in_table == FREE {
                return Err(entry);
            }
            if in_table != REMOVED && in_table >> 32 == hash >> 32 {
                let slot = &self.slots[slot_number(in_table)];
                if &self.block[slot.start..slot.value_start()] == key {
                    return Ok(entry);
                }
            }
            entry = (entry + 1) & mask;
        }
    }

    fn insert(&mut self, entry: usize, hash: u64, key: &[u8], value: &[u8]) -> Option<()> {
        pack(value, &mut self.packed);
        let packed = u32::try_from(self.packed.len()).ok()?;
        let number = u32::try_from(self.slots.len() + 1).ok().filter(|number| *number < u32::MAX)?;
        self.slots.push(Slot {
            start: self.block.len(),
            key: u32::try_from(key.len()).ok()?,
            packed,
            room: packed,
            length: u32::try_from(value.len()).ok()?,
            alive: true,
            age: self.ages.of(value),
        });
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(&self.packed);
        self.table[entry] = hash >> 32 << 32 | u64::from(number);
        self.alive += 1;
        self.used += 1;
        if self.used * 2 > self.table.len() {
            self.rehash();
        }
        Some(())
    }

    fn replace(&mut self, number: usize, value: &[u8]) -> Option<()> {
        let age = self.ages.of(value);
        let slot = &mut self.slots[number];
        if matches!((age, slot.age), (Some(age), Some(known)) if age < known) {
            return Some(());
        }
        pack(value, &mut self.packed);
        let packed = u32::try_from(self.packed.len()).ok()?;
        if packed > slot.room {
            let (start, end) = (slot.start, slot.value_start());
            self.garbage += slot.size();
            slot.start = self.block.len();
            slot.room = packed.checked_add(packed / SPARE as u32)?;
            self.block.extend_from_within(start..end);
            self.block.resize(slot.value_start() + slot.room as usize, 0);
        }
        slot.packed = packed;
        slot.length = u32::try_from(value.len()).ok()?;
        slot.age = age;
        let start = slot.value_start();
        self.block[start..start + self.packed.len()].copy_from_slice(&self.packed);
        Some(())
    }

    fn remove(&mut self, entry: usize) {
        let slot = &mut self.slots[slot_number(self.table[entry])];
        slot.alive = false;
        self.garbage += slot.size();
        self.table[entry] = REMOVED;
        self.alive -= 1;
    }

    /// Leave out superseded values, room that is not used, and the slots of keys that are removed.
    fn compact(&mut self) {
        self.slots.retain(|slot| slot.alive);
        let mut block =
            Vec::with_capacity(self.slots.iter().map(|slot| slot.key as usize + slot.packed as usize).sum());
        for slot in &mut self.slots {
            let start = block.len();
            block.extend_from_slice(&self.block[slot.start..slot.value_start() + slot.packed as usize]);
            slot.start = start;
            slot.room = slot.packed;
        }
        self.block = block;
        self.garbage = 0;
        self.rehash();
    }

    /// Make the table anew, with room for as many keys again.
    fn rehash(&mut self) {
        let size = (self.alive * 4).next_power_of_two().max(SMALLEST_TABLE);
        let mut table = vec![FREE; size];
        for (number, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.alive) {
            let hash = self.hash(&self.block[slot.start..slot.value_start()]);
            let mut entry = hash as usize & (size - 1);
            while table[entry] != FREE {
                entry = (entry + 1) & (size - 1);
            }
            table[entry] = hash >> 32 << 32 | (number as u64 + 1);
        }
        self.table = table;
        self.used = self.alive;
    }

    /// The number of the slot of a key.
    pub fn slot_of(&self, key: &[u8]) -> Option<usize> {
        self.find(self.hash(key), key).ok().map(|entry| slot_number(self.table[entry]))
    }

    /// The length of the value of a slot.
    pub fn length_of(&self, number: i64) -> Option<i64> {
        self.slot(number).map(|slot| i64::from(slot.length))
    }

    /// Write number, length of the key and length of the value of each slot, in three rows.
    pub fn list(&self, output: &mut [i64]) {
        let count = self.alive;
        for (index, (number, slot)) in self.slots.iter().enumerate().filter(|(_, slot)| slot.alive).enumerate() {
            output[index] = number as i64;
            output[count + index] = i64::from(slot.key);
            output[2 * count + index] = i64::from(slot.length);
        }
    }

    /// Write what follows the first `skip` bytes of keys, one behind the other; `None` if they do not fill the output.
    pub fn write_keys(&self, slots: &[i64], skip: usize, output: &mut [u8]) -> Option<()> {
        let mut rest = output;
        for number in slots {
            let slot = self.slot(*number)?;
            let key = self.block[slot.start..slot.value_start()].get(skip..).unwrap_or_default();
            let (name, after) = split(rest, key.len())?;
            name.copy_from_slice(key);
            rest = after;
        }
        rest.is_empty().then_some(())
    }

    /// Write the first `width` bytes of the values of slots, which are as long at least.
    pub fn write_heads(&self, slots: &[i64], width: usize, output: &mut [u8]) -> Option<()> {
        for (number, head) in slots.iter().zip(output.chunks_exact_mut(width)) {
            let slot = self.slot(*number).filter(|slot| slot.length as usize >= width)?;
            unpack(self.value(slot), 0, head)?;
        }
        Some(())
    }

    /// Write what follows the first `width` bytes of the values of slots, one behind the other.
    pub fn write_tails(&self, slots: &[i64], width: usize, output: &mut [u8]) -> Option<()> {
        let mut rest = output;
        for number in slots {
            let slot = self.slot(*number)?;
            let (tail, after) = split(rest, (slot.length as usize).saturating_sub(width))?;
            unpack(self.value(slot), width, tail)?;
            rest = after;
        }
        rest.is_empty().then_some(())
    }

    fn slot(&self, number: i64) -> Option<&Slot> {
        self.slots.get(usize::try_from(number).ok()?).filter(|slot| slot.alive)
    }

    fn value(&self, slot: &Slot) -> &[u8] {
        &self.block[slot.value_start()..slot.value_start() + slot.packed as usize]
    }
}

/// The first bytes of an output, and the rest; `None` if there are fewer.
fn split(output: &mut [u8], middle: usize) -> Option<(&mut [u8], &mut [u8])> {
    if middle <= output.len() {
        Some(output.split_at_mut(middle))
    } else {
        None
    }
}

/// Add rows and pages to their tables, and write which records are neither; returns how many these are.
///
/// A key that begins with `p` and has fewer bytes than `page_key` is none of a page.
pub fn sort(
    rows: &mut Newest,
    pages: &mut Newest,
    page_key: usize,
    keys: &Spans,
    values: &Spans,
    others: &mut [i64],
) -> Option<usize> {
    let mut count = 0;
    for index in 0..keys.len() {
        let key = keys.get(index).unwrap_or_default();
        match key.first() {
            Some(b'r') => rows.put(key, value_of(values, index)?)?,
            Some(b'p') if key.len() >= page_key => pages.put(key, value_of(values, index)?)?,
            _ => {
                *others.get_mut(count)? = index as i64;
                count += 1;
            }
        }
    }
    Some(count)
}

fn value_of<'a>(values: &Spans<'a>, index: usize) -> Option<Option<&'a [u8]>> {
    if values.start(index) < 0 {
        Some(None)
    } else {
        values.get(index).map(Some)
    }
}

fn slot_number(entry: u64) -> usize {
    (entry as u32) as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(least_garbage: usize) -> Newest {
        Newest::new(Ages { at: 0, version: None, lengths: u64::MAX, least: 0 }, least_garbage)
    }

    fn values(newest: &Newest) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut listed = vec![0; 3 * newest.len()];
        newest.list(&mut listed);
        let slots = &listed[..newest.len()];
        let read = |slot: &i64| {
            let slot = newest.slot(*slot).unwrap();
            let mut value = vec![0; slot.length as usize];
            unpack(newest.value(slot), 0, &mut value).unwrap();
            (newest.block[slot.start..slot.value_start()].to_vec(), value)
        };
        slots.iter().map(read).collect()
    }

    #[test]
    fn the_newer_value_stays_and_a_removed_key_comes_back_last() {
        for least_garbage in [0, 1 << 20] {
            let mut newest = newest(least_garbage);
            let (old, new) = (1_i64.to_le_bytes(), 2_i64.to_le_bytes());
            let longer = [&new[..], &[9; 7], &[0; 40], b"end"].concat();
            for (key, value) in [(b"a", &new[..]), (b"b", &new), (b"a", &old), (b"b", &longer), (b"c", b"")] {
                newest.put(key, Some(value)).unwrap();
            }
            newest.put(b"a", None).unwrap();
            newest.put(b"missing", None).unwrap();
            newest.put(b"a", Some(&old)).unwrap();
            let expected = [(b"b".to_vec(), longer.clone()), (b"c".to_vec(), vec![]), (b"a".to_vec(), old.to_vec())];
            assert_eq!(values(&newest), expected);
            assert_eq!((newest.len(), newest.slot_of(b"missing")), (3, None));
        }
    }

    #[test]
    fn a_table_grows_and_finds_all_keys() {
        let mut newest = newest(0);
        for number in 0..1_000_u32 {
            newest.put(&number.to_le_bytes(), Some(&number.to_le_bytes().repeat(9))).unwrap();
            if number % 3 == 0 {
                newest.put(&number.to_le_bytes(), None).unwrap();
            }
        }
        assert_eq!(newest.len(), 666);
        for number in 0..1_000_u32 {
            assert_eq!(newest.slot_of(&number.to_le_bytes()).is_some(), number % 3 != 0);
        }
        assert_eq!(values(&newest)[1].0, 2_u32.to_le_bytes());
    }

    #[test]
    fn slots_and_widths_that_are_not_there_are_refused() {
        let mut newest = newest(0);
        newest.put(b"key", Some(b"value")).unwrap();
        assert_eq!(newest.write_heads(&[0], 6, &mut [0; 6]), None);
        assert_eq!(newest.write_heads(&[1], 1, &mut [0; 1]), None);
        assert_eq!(newest.write_keys(&[-1], 0, &mut []), None);
        assert_eq!(newest.write_tails(&[0], 2, &mut [0; 2]), None);
        let mut tail = [0; 3];
        newest.write_tails(&[0], 2, &mut tail).unwrap();
        assert_eq!(&tail, b"lue");
    }

    #[test]
    fn records_are_sorted_by_their_keys() {
        let (mut rows, mut pages) = (newest(0), newest(0));
        let keys = Spans::new(b"rapbpcd", &[0, 2, 4, -1, 0], &[2, 4, 7, -1, 1]);
        let buffer_of_values = Spans::new(b"rapbpcd", &[0, 0, 1, 0, -1], &[1, 1, 2, 0, 0]);
        let mut others = [0; 5];
        assert_eq!(sort(&mut rows, &mut pages, 3, &keys, &buffer_of_values, &mut others), Some(2));
        assert_eq!((rows.len(), pages.len(), &others[..2]), (1, 1, &[1, 3][..]));
        let outside = Spans::new(b"", &[0, 0, 0, 0, 0], &[1, 1, 1, 1, 1]);
        assert_eq!(sort(&mut rows, &mut pages, 3, &keys, &outside, &mut others), None);
    }
}
