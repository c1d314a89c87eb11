//! Where the records of a fetch lie in its bytes: batches of Kafka's format v2 whose records are not compressed.
//!
//! Bytes from a network are not trusted: whatever is not as the format has it ends the whole call, and the client, which
//! reads the same bytes then, says what is wrong with them.

/// Numbers of a record: offset, time, kind of time, and both ends of key, value and headers.
pub const COLUMNS: usize = 9;
const HEADER: usize = 61;
const MAGIC: usize = 16;
const APPEND_TIME: i16 = 0x08;
const NONE: (i64, i64) = (-1, -1);

/// Parts of a buffer that each are a batch with its header, and the first offset that is wanted of each.
pub struct Batches<'a> {
    pub buffer: &'a [u8],
    pub starts: &'a [i64],
    pub ends: &'a [i64],
    pub wanted: &'a [i64],
}

/// Write a column of `capacity` entries for each of the numbers; returns the number of records.
///
/// Offsets of the records ascend. `None` if the batches are not as described, or have more records than `capacity`.
pub fn index(batches: &Batches, output: &mut [i64], capacity: usize) -> Option<usize> {
    let mut written = 0;
    let mut before = None;
    for ((start, end), wanted) in batches.starts.iter().zip(batches.ends).zip(batches.wanted) {
        let (start, end) = (usize::try_from(*start).ok()?, usize::try_from(*end).ok()?);
        let batch = Batch::read(batches.buffer.get(start..end)?)?;
        let mut cursor = Cursor { bytes: batch.bytes, position: HEADER };
        for _ in 0..batch.count {
            let record = batch.next(&mut cursor)?;
            if before.map_or(false, |before| record.offset <= before) {
                return None;
            }
            before = Some(record.offset);
            if record.offset < *wanted {
                continue;
            }
            if written == capacity {
                return None;
            }
            record.write(start as i64, output.get_mut(written..)?, capacity)?;
            written += 1;
        }
        if cursor.position != batch.bytes.len() {
            return None;
        }
    }
    Some(written)
}

struct Batch<'a> {
    bytes: &'a [u8],
    base_offset: i64,
    first_time: i64,
    /// The time of every record, if the broker stamps them.
    append_time: Option<i64>,
    count: usize,
}

impl<'a> Batch<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        if header[MAGIC] != 2 {
            return None;
        }
        let attributes = i16::from_be_bytes(header[21..23].try_into().ok()?);
        let number = |from: usize| Some(i64::from_be_bytes(header.get(from..from + 8)?.try_into().ok()?));
        let max_time = number(35)?;
        Some(Batch {
            bytes,
            base_offset: number(0)?,
            first_time: number(27)?,
            append_time: if attributes & APPEND_TIME == 0 { None } else { Some(max_time) },
            count: usize::try_from(i32::from_be_bytes(header[57..HEADER].try_into().ok()?)).ok()?,
        })
    }

    fn next(&self, cursor: &mut Cursor) -> Option<Record> {
        let length = usize::try_from(cursor.varint()?).ok()?;
        let end = cursor.position.checked_add(length)?;
        let mut fields = Cursor { bytes: cursor.bytes.get(..end)?, position: cursor.position };
        let _attributes = fields.varint()?;
        let time = self.first_time.checked_add(fields.varint()?)?;
        let offset = self.base_offset.checked_add(fields.varint()?)?;
        let (key, value) = (fields.bytes_or_none()?, fields.bytes_or_none()?);
        let headers = fields.headers()?;
        if fields.position != end {
            return None;
        }
        cursor.position = end;
        Some(Record {
            offset,
            time: self.append_time.unwrap_or(time),
            stamped: self.append_time.is_some(),
            key,
            value,
            headers,
        })
    }
}

/// A record, with spans that count from the beginning of its batch.
struct Record {
    offset: i64,
    time: i64,
    stamped: bool,
    key: (i64, i64),
    value: (i64, i64),
    headers: (i64, i64),
}

impl Record {
    fn write(&self, base: i64, output: &mut [i64], capacity: usize) -> Option<()> {
        let moved = |position: i64| if position < 0 { -1 } else { base + position };
        let numbers: [i64; COLUMNS] = [
            self.offset,
            self.time,
            i64::from(self.stamped),
            moved(self.key.0),
            moved(self.key.1),
            moved(self.value.0),
            moved(self.value.1),
            moved(self.headers.0),
            moved(self.headers.1),
        ];
        for (column, number) in numbers.iter().enumerate() {
            *output.get_mut(column * capacity)? = *number;
        }
        Some(())
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Cursor<'_> {
    /// A number as protocol buffers write it; one that is longer than 64 bits is none.
    fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.position)?;
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn take(&mut self, length: i64) -> Option<(i64, i64)> {
        let start = self.position;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        self.position = end;
        Some((i64::try_from(start).ok()?, i64::try_from(end).ok()?))
    }

    fn bytes_or_none(&mut self) -> Option<(i64, i64)> {
        let length = self.varint()?;
        if length < 0 {
            Some(NONE)
        } else {
            self.take(length)
        }
    }

    /// The span of all headers with their number before them.
    fn headers(&mut self) -> Option<(i64, i64)> {
        let start = self.position;
        let count = self.varint()?;
        if count == 0 {
            return Some(NONE);
        }
        for _ in 0..u64::try_from(count).ok()? {
            let length = self.varint()?;
            let (name, name_end) = self.take(length)?;
            std::str::from_utf8(&self.bytes[name as usize..name_end as usize]).ok()?;
            self.bytes_or_none()?;
        }
        Some((i64::try_from(start).ok()?, i64::try_from(self.position).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 4;

    fn batch(base_offset: i64, attributes: i16, count: i32, records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[MAGIC] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[27..35].copy_from_slice(&1_000_i64.to_be_bytes());
        bytes[35..43].copy_from_slice(&2_000_i64.to_be_bytes());
        bytes[57..HEADER].copy_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(records);
        bytes
    }

    /// Time 1,003, offset 1 of the batch, key `k`, no value, and the headers given.
    fn record(headers: &[u8]) -> Vec<u8> {
        let mut fields = vec![0, 6, 2, 2, b'k', 1];
        fields.extend_from_slice(headers);
        fields.insert(0, 2 * fields.len() as u8);
        fields
    }

    fn indexed(buffer: &[u8], wanted: i64) -> Option<Vec<i64>> {
        let mut output = vec![0; COLUMNS * CAPACITY];
        let batches = Batches { buffer, starts: &[0], ends: &[buffer.len() as i64], wanted: &[wanted] };
        let count = index(&batches, &mut output, CAPACITY)?;
        Some(output.chunks(CAPACITY).flat_map(|column| column[..count].to_vec()).collect())
    }

    #[test]
    fn a_record_is_found_with_its_spans() {
        let bytes = batch(10, 0, 1, &record(&[0]));
        assert_eq!(indexed(&bytes, 0).unwrap(), [11, 1_003, 0, 66, 67, -1, -1, -1, -1]);
        let bytes = batch(10, 0, 1, &record(&[2, 2, b'h', 1]));
        assert_eq!(indexed(&bytes, 0).unwrap(), [11, 1_003, 0, 66, 67, -1, -1, 68, 72]);
    }

    #[test]
    fn the_time_of_the_broker_counts_where_it_stamps() {
        assert_eq!(indexed(&batch(10, APPEND_TIME, 1, &record(&[0])), 0).unwrap()[..3], [11, 2_000, 1]);
    }

    #[test]
    fn records_before_the_wanted_offset_are_left_out() {
        assert!(indexed(&batch(10, 0, 1, &record(&[0])), 12).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_as_the_format_has_it_is_refused() {
        let good = record(&[0]);
        let refused = [
            batch(10, 0, 2, &good),
            batch(10, 0, 0, &good),
            batch(10, 0, -1, &good),
            batch(10, 0, i32::MAX, &good),
            batch(i64::MAX, 0, 1, &good),
            batch(10, 0, 2, &[&good[..], &good[..]].concat()),
            batch(10, 0, 1, &record(&[2, 2, 0xff, 1])),
            batch(10, 0, 1, &record(&[2, 1, 1])),
            batch(10, 0, 1, &record(&[1])),
            batch(10, 0, 1, &record(&[0xff; 11])),
            batch(10, 0, 1, &record(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
            batch(10, 0, 1, &record(&[0, 0])),
        ];
        for bytes in refused {
            assert_eq!(indexed(&bytes, 0), None, "{:?}", &bytes[HEADER..]);
        }
        let mut old = batch(10, 0, 1, &good);
        old[MAGIC] = 1;
        assert_eq!(indexed(&old, 0), None);
    }

    #[test]
    fn cut_bytes_are_refused() {
        let bytes = batch(10, 0, 1, &record(&[2, 2, b'h', 2, b'v']));
        for length in 0..bytes.len() {
            assert_eq!(indexed(&bytes[..length], 0), None);
        }
        assert!(indexed(&bytes, 0).is_some());
    }

    #[test]
    fn spans_outside_of_the_buffer_are_refused() {
        let buffer = batch(10, 0, 1, &record(&[0]));
        for (start, end) in [(-1, 9), (9, 1), (0, 1_000), (i64::MIN, i64::MAX)] {
            let batches = Batches { buffer: &buffer, starts: &[start], ends: &[end], wanted: &[0] };
            assert_eq!(index(&batches, &mut [0; COLUMNS * CAPACITY], CAPACITY), None);
        }
    }

    #[test]
    fn more_records_than_there_is_room_for_are_refused() {
        let bytes = batch(10, 0, 1, &record(&[0]));
        let batches = Batches { buffer: &bytes, starts: &[0], ends: &[bytes.len() as i64], wanted: &[0] };
        assert_eq!(index(&batches, &mut [], 0), None);
    }
}
