//! The C interface: raw pointers become slices here, and nowhere else.
//!
//! Every function is called by `schemas/native/library.py`, which makes the arrays and knows their lengths. Texts of
//! records are spans of one buffer: arrays of first and last-plus-one positions, negative where there is no value. A
//! span that does not lie in its buffer is taken for none.

mod event;
mod hash;
mod instant;
mod records;
mod scan;
mod texts;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::slice::{from_raw_parts, from_raw_parts_mut};

use event::{EventSchema, Output};
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
