//! The C interface: raw pointers become slices here, and nowhere else.
//!
//! Every function is called by `schemas/native/library.py`, which makes the arrays and knows their lengths. Texts of
//! records are spans of one buffer: arrays of first and last-plus-one positions, negative where there is no value. A
//! span that does not lie in its buffer is taken for none.

mod event;
mod hash;
mod instant;
mod newest;
mod packed;
mod records;
mod scan;
mod texts;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::slice::{from_raw_parts, from_raw_parts_mut};

use event::{EventSchema, Output};
use newest::{Ages, Newest};
use texts::{Rows, Spans};

/// Texts as the caller passes them.
///
/// # Safety
/// `buffer` points to `length` bytes, `starts` and `ends` to `count` numbers, and all live as long as what is returned.
unsafe fn spans_of<'a>(
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
) -> Spans<'a> {
    Spans::new(from_raw_parts(buffer, length), from_raw_parts(starts, count), from_raw_parts(ends, count))
}

/// Compile the description of an event type. Null when it cannot be read.
///
/// # Safety
/// `description` points to `length` bytes. The result is given to `event_schema_free` once.
#[no_mangle]
pub unsafe extern "C" fn event_schema_new(description: *const u8, length: usize) -> *mut EventSchema {
    match EventSchema::read(from_raw_parts(description, length)) {
        Some(schema) => Box::into_raw(Box::new(schema)),
        None => std::ptr::null_mut(),
    }
}

/// Forget an event type.
///
/// # Safety
/// `schema` comes from `event_schema_new` and is used no more.
#[no_mangle]
pub unsafe extern "C" fn event_schema_free(schema: *mut EventSchema) {
    drop(Box::from_raw(schema));
}

/// Read `count` records into columns; returns how many are not plain, which are marked with 0 in `plain`.
///
/// # Safety
/// `buffer` has `length` bytes; `starts`, `ends`, `plain` and `times` have `count` entries, `spans` two times `count`
/// for each text of the type, and `numbers` `count` for each of its numbers.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn events_read(
    schema: *mut EventSchema,
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
    plain: *mut u8,
    times: *mut i64,
    spans: *mut i64,
    numbers: *mut f64,
) -> usize {
    let schema = &mut *schema;
    let records = spans_of(buffer, length, starts, ends, count);
    let mut output = Output {
        count,
        times: from_raw_parts_mut(times, count),
        spans: from_raw_parts_mut(spans, 2 * count * schema.texts),
        numbers: from_raw_parts_mut(numbers, count * schema.numbers),
    };
    let plain = from_raw_parts_mut(plain, count);
    // A mistake here must not end a worker: every record can be decoded in Python.
    let read = catch_unwind(AssertUnwindSafe(|| schema.read_all(&records, plain, &mut output)));
    read.unwrap_or_else(|_| {
        plain.fill(0);
        count
    })
}

/// Write the XXH3-64 hash of each text without white space at its ends; 0 where there is none or it is blank.
///
/// # Safety
/// `buffer` has `length` bytes; `starts`, `ends` and `hashes` have `count` entries.
#[no_mangle]
pub unsafe extern "C" fn texts_hash(
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
    hashes: *mut u64,
) {
    let texts = spans_of(buffer, length, starts, ends, count);
    texts::hash_all(&texts, from_raw_parts_mut(hashes, count));
}

/// Write the code of each text: 1, 2, ... of the words that a policy names, 0 of any other and of no text.
///
/// # Safety
/// As `texts_hash`; `words` has `words_length` bytes, and `word_ends` has `words_count` ends of words in it.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn texts_match(
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
    words: *const u8,
    words_length: usize,
    word_ends: *const i64,
    words_count: usize,
    codes: *mut i64,
) {
    let texts = spans_of(buffer, length, starts, ends, count);
    let words = texts::split(from_raw_parts(words, words_length), from_raw_parts(word_ends, words_count));
    texts::match_all(&texts, &words, from_raw_parts_mut(codes, count));
}

/// An empty table of rows by account id.
#[no_mangle]
pub extern "C" fn rows_new() -> *mut Rows {
    Box::into_raw(Box::default())
}

/// Forget a table.
///
/// # Safety
/// `rows` comes from `rows_new` and is used no more.
#[no_mangle]
pub unsafe extern "C" fn rows_free(rows: *mut Rows) {
    drop(Box::from_raw(rows));
}

/// Remember the rows of account ids; one that is negative is not remembered.
///
/// # Safety
/// As `texts_hash`; `rows` comes from `rows_new`, and `values` has `count` entries.
#[no_mangle]
pub unsafe extern "C" fn rows_put(
    rows: *mut Rows,
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
    values: *const i64,
) {
    let names = spans_of(buffer, length, starts, ends, count);
    (*rows).put_all(&names, from_raw_parts(values, count));
}

/// Forget the row of an account id.
///
/// # Safety
/// `rows` comes from `rows_new`, and `name` has `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn rows_forget(rows: *mut Rows, name: *const u8, length: usize) {
    (*rows).forget(from_raw_parts(name, length));
}

/// Write the row of each account id, -1 where it is not known; returns how many are not.
///
/// # Safety
/// As `texts_hash`; `rows` comes from `rows_new`.
#[no_mangle]
pub unsafe extern "C" fn rows_get(
    rows: *mut Rows,
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    count: usize,
    output: *mut i64,
) -> usize {
    let names = spans_of(buffer, length, starts, ends, count);
    (*rows).get_all(&names, from_raw_parts_mut(output, count))
}

/// Index the records of `count` batches; returns how many there are, or -1 if the batches are not plain.
///
/// # Safety
/// `buffer` has `length` bytes; `starts`, `ends` and `wanted` have `count` entries, and `output` `capacity` for each of
/// the numbers of a record.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn records_index(
    buffer: *const u8,
    length: usize,
    starts: *const i64,
    ends: *const i64,
    wanted: *const i64,
    count: usize,
    output: *mut i64,
    capacity: usize,
) -> i64 {
    let batches = records::Batches {
        buffer: from_raw_parts(buffer, length),
        starts: from_raw_parts(starts, count),
        ends: from_raw_parts(ends, count),
        wanted: from_raw_parts(wanted, count),
    };
    let output = from_raw_parts_mut(output, records::COLUMNS * capacity);
    // As above: all of them can be read in Python.
    let indexed = catch_unwind(AssertUnwindSafe(|| records::index(&batches, output, capacity)));
    indexed.ok().flatten().and_then(|count| i64::try_from(count).ok()).unwrap_or(-1)
}

/// An empty table of the newest values; `version` is negative where no byte of a value says whether it has an age.
#[no_mangle]
pub extern "C" fn newest_new(at: usize, version: i64, lengths: u64, least: i64, least_garbage: usize) -> *mut Newest {
    let ages = Ages { at, version: u8::try_from(version).ok(), lengths, least };
    Box::into_raw(Box::new(Newest::new(ages, least_garbage)))
}

/// Forget a table.
///
/// # Safety
/// `newest` comes from `newest_new` and is used no more.
#[no_mangle]
pub unsafe extern "C" fn newest_free(newest: *mut Newest) {
    drop(Box::from_raw(newest));
}

/// Add `count` records; returns 0, or -1 after a mistake, after which the table is used no more.
///
/// # Safety
/// As `texts_hash`, of keys and of values; `newest` comes from `newest_new`.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn newest_put(
    newest: *mut Newest,
    keys: *const u8,
    keys_length: usize,
    key_starts: *const i64,
    key_ends: *const i64,
    values: *const u8,
    values_length: usize,
    value_starts: *const i64,
    value_ends: *const i64,
    count: usize,
) -> i64 {
    let keys = spans_of(keys, keys_length, key_starts, key_ends, count);
    let values = spans_of(values, values_length, value_starts, value_ends, count);
    let newest = &mut *newest;
    status(catch_unwind(AssertUnwindSafe(|| newest.put_all(&keys, &values))).ok().flatten())
}

/// Add rows and pages to their tables, and write which records are neither; returns how many these are, -1 as above.
///
/// # Safety
/// As `newest_put`, with keys and values in one buffer; `rows` and `pages` are two tables, and `others` has `count`
/// entries.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn newest_sort(
    rows: *mut Newest,
    pages: *mut Newest,
    page_key: usize,
    buffer: *const u8,
    length: usize,
    key_starts: *const i64,
    key_ends: *const i64,
    value_starts: *const i64,
    value_ends: *const i64,
    count: usize,
    others: *mut i64,
) -> i64 {
    let keys = spans_of(buffer, length, key_starts, key_ends, count);
    let values = spans_of(buffer, length, value_starts, value_ends, count);
    let (rows, pages, others) = (&mut *rows, &mut *pages, from_raw_parts_mut(others, count));
    let sorted = catch_unwind(AssertUnwindSafe(|| newest::sort(rows, pages, page_key, &keys, &values, others)));
    sorted.ok().flatten().and_then(|count| i64::try_from(count).ok()).unwrap_or(-1)
}

/// How many keys a table has.
///
/// # Safety
/// `newest` comes from `newest_new`.
#[no_mangle]
pub unsafe extern "C" fn newest_count(newest: *const Newest) -> usize {
    (*newest).len()
}

/// Bytes of memory of a table.
///
/// # Safety
/// `newest` comes from `newest_new`.
#[no_mangle]
pub unsafe extern "C" fn newest_bytes(newest: *const Newest) -> usize {
    (*newest).bytes()
}

/// The slot of a key, -1 where it has none.
///
/// # Safety
/// `newest` comes from `newest_new`, and `key` has `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn newest_slot(newest: *const Newest, key: *const u8, length: usize) -> i64 {
    let slot = (*newest).slot_of(from_raw_parts(key, length));
    slot.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(-1)
}

/// The length of the value of a slot, 0 if there is none.
///
/// # Safety
/// `newest` comes from `newest_new`.
#[no_mangle]
pub unsafe extern "C" fn newest_length(newest: *const Newest, slot: i64) -> i64 {
    (*newest).length_of(slot).unwrap_or(0)
}

/// Write number, length of the key and length of the value of each slot.
///
/// # Safety
/// `newest` comes from `newest_new`, and `output` has three entries for each of its keys.
#[no_mangle]
pub unsafe extern "C" fn newest_list(newest: *const Newest, output: *mut i64) {
    let newest = &*newest;
    newest.list(from_raw_parts_mut(output, 3 * newest.len()));
}

/// Write what follows the first `skip` bytes of the keys of slots, one behind the other; returns 0, or -1 after a mistake.
///
/// # Safety
/// `newest` comes from `newest_new`, `slots` has `count` entries, and `output` has `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn newest_keys(
    newest: *const Newest,
    slots: *const i64,
    count: usize,
    skip: usize,
    output: *mut u8,
    length: usize,
) -> i64 {
    let (newest, slots) = (&*newest, from_raw_parts(slots, count));
    let output = from_raw_parts_mut(output, length);
    status(catch_unwind(AssertUnwindSafe(|| newest.write_keys(slots, skip, output))).ok().flatten())
}

/// Write the first `width` bytes of the values of slots, which are as long at least; returns as above.
///
/// # Safety
/// As `newest_keys`; `output` has `width` bytes for each slot, at least one.
#[no_mangle]
pub unsafe extern "C" fn newest_heads(
    newest: *const Newest,
    slots: *const i64,
    count: usize,
    width: usize,
    output: *mut u8,
) -> i64 {
    let (newest, slots) = (&*newest, from_raw_parts(slots, count));
    let output = from_raw_parts_mut(output, count * width);
    status(catch_unwind(AssertUnwindSafe(|| newest.write_heads(slots, width, output))).ok().flatten())
}

/// Write what follows the first `width` bytes of the values of slots, one behind the other; returns as above.
///
/// # Safety
/// As `newest_keys`.
#[no_mangle]
pub unsafe extern "C" fn newest_tails(
    newest: *const Newest,
    slots: *const i64,
    count: usize,
    width: usize,
    output: *mut u8,
    length: usize,
) -> i64 {
    let (newest, slots) = (&*newest, from_raw_parts(slots, count));
    let output = from_raw_parts_mut(output, length);
    status(catch_unwind(AssertUnwindSafe(|| newest.write_tails(slots, width, output))).ok().flatten())
}

fn status(done: Option<()>) -> i64 {
    if done.is_some() {
        0
    } else {
        -1
    }
}
