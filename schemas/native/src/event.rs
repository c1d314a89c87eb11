//! Event records to columns, by a description of their type.
//!
//! A record is plain when it is certain that the decoder in Python would accept it with the same values. All others are
//! left to that decoder.

use crate::instant;
use crate::scan::Scanner;
use crate::texts::Spans;

const REQUIRED: u8 = 1;
const NULLABLE: u8 = 2;
const NOT_EMPTY: u8 = 4;
const MOST_FIELDS: usize = 64;
const LATEST_MS: i64 = 1 << 53;
const UNKNOWN: usize = MOST_FIELDS;

enum Kind {
    /// A text, one of `words` if there are any.
    Text {
        slot: usize,
        words: Vec<Vec<u8>>,
    },
    Flag {
        slot: usize,
    },
    Number {
        slot: usize,
        least: f64,
        most: f64,
    },
    Time,
}

struct Field {
    /// The name in quotation marks, as it is written.
    quoted: Vec<u8>,
    flags: u8,
    kind: Kind,
}

/// The fields of an event type.
pub struct EventSchema {
    fields: Vec<Field>,
    required: u64,
    /// How many fields have a text or a flag, and how many a number.
    pub texts: usize,
    pub numbers: usize,
    /// The field of each key of the last record: the next one mostly has the same keys in the same order.
    expected: Vec<usize>,
}

/// Columns, one behind the other: `spans` has first starts, then ends of each text.
pub struct Output<'a> {
    pub count: usize,
    pub times: &'a mut [i64],
    pub spans: &'a mut [i64],
    pub numbers: &'a mut [f64],
}

impl Output<'_> {
    fn clear(&mut self, index: usize) {
        self.times[index] = 0;
        self.spans.iter_mut().skip(index).step_by(self.count).for_each(|span| *span = -1);
        self.numbers.iter_mut().skip(index).step_by(self.count).for_each(|number| *number = f64::NAN);
    }

    fn set_text(&mut self, index: usize, slot: usize, start: i64, end: i64) {
        self.spans[2 * slot * self.count + index] = start;
        self.spans[(2 * slot + 1) * self.count + index] = end;
    }
}

impl EventSchema {
    /// Read a description: how many fields, and of each its kind, flags, slot, name, and limits or words.
    pub fn read(description: &[u8]) -> Option<EventSchema> {
        let mut reader = Reader(description);
        let mut schema = EventSchema { fields: Vec::new(), required: 0, texts: 0, numbers: 0, expected: Vec::new() };
        for index in 0..usize::from(reader.short()?) {
            let (kind, flags, slot) = (reader.byte()?, reader.byte()?, usize::from(reader.short()?));
            let quoted = [b"\"", reader.text()?, b"\""].concat();
            let kind = match kind {
                b't' => Kind::Text { slot, words: reader.texts()? },
                b'f' => Kind::Flag { slot },
                b'n' => Kind::Number { slot, least: reader.float()?, most: reader.float()? },
                b'i' => Kind::Time,
                _ => return None,
            };
            match kind {
                Kind::Text { .. } | Kind::Flag { .. } => schema.texts = schema.texts.max(slot + 1),
                Kind::Number { .. } => schema.numbers = schema.numbers.max(slot + 1),
                Kind::Time => {}
            }
            schema.required |= u64::from(flags & REQUIRED) << index;
            schema.fields.push(Field { quoted, flags, kind });
        }
        (reader.0.is_empty() && schema.fields.len() <= MOST_FIELDS).then_some(schema)
    }

    /// Read records into columns; returns how many are not plain.
    pub fn read_all(&mut self, records: &Spans, plain: &mut [u8], output: &mut Output) -> usize {
        let mut others = 0;
        output.spans.fill(-1);
        output.numbers.fill(f64::NAN);
        for (index, is_plain) in plain.iter_mut().enumerate() {
            let read = records.get(index).and_then(|text| self.record(text, records.start(index), index, output));
            *is_plain = u8::from(read.is_some());
            if read.is_none() {
                output.clear(index);
                others += 1;
            }
        }
        others
    }

    fn record(&mut self, text: &[u8], offset: i64, index: usize, output: &mut Output) -> Option<()> {
        if !text.is_ascii() {
            std::str::from_utf8(text).ok()?;
        }
        let mut scanner = Scanner::new(text);
        let (mut seen, mut key) = (0_u64, 0);
        scanner.skip_space();
        if !scanner.take(b'{') {
            return None;
        }
        loop {
            scanner.skip_space();
            let field = self.field(key, &mut scanner)?;
            key += 1;
            scanner.skip_space();
            if !scanner.take(b':') {
                return None;
            }
            scanner.skip_space();
            if field == UNKNOWN {
                scanner.skip(0)?;
            } else {
                if seen & 1 << field != 0 {
                    return None;
                }
                seen |= 1 << field;
                self.fields[field].value(&mut scanner, offset, index, output)?;
            }
            scanner.skip_space();
            if scanner.take(b'}') {
                break;
            }
            if !scanner.take(b',') {
                return None;
            }
        }
        scanner.skip_space();
        (scanner.position == text.len() && seen & self.required == self.required).then_some(())
    }

    /// Go past a name, given which key of its record it is, and return its field.
    fn field(&mut self, key: usize, scanner: &mut Scanner) -> Option<usize> {
        if let Some(expected) = self.expected.get(key) {
            if self.fields.get(*expected).map_or(false, |field| scanner.take_word(&field.quoted)) {
                return Some(*expected);
            }
        }
        let (start, end) = scanner.string()?;
        let name = &scanner.text[start - 1..=end];
        let field = self.fields.iter().position(|field| field.quoted == name).unwrap_or(UNKNOWN);
        if key < MOST_FIELDS {
            self.expected.resize(self.expected.len().max(key + 1), UNKNOWN);
            self.expected[key] = field;
        }
        Some(field)
    }
}

impl Field {
    /// Read the value of a field of the record `index`, whose text begins at `offset` of the buffer.
    fn value(&self, scanner: &mut Scanner, offset: i64, index: usize, output: &mut Output) -> Option<()> {
        if scanner.peek() == Some(b'n') {
            return (self.flags & NULLABLE != 0 && scanner.take_word(b"null")).then_some(());
        }
        match &self.kind {
            Kind::Text { slot, words } => {
                let (start, end) = scanner.string()?;
                let text = &scanner.text[start..end];
                if text.is_empty() && self.flags & NOT_EMPTY != 0 {
                    return None;
                }
                if !words.is_empty() && !words.iter().any(|word| word == text) {
                    return None;
                }
                output.set_text(index, *slot, offset + start as i64, offset + end as i64);
            }
            Kind::Flag { slot } => {
                let start = scanner.position;
                if !scanner.take_word(b"true") && !scanner.take_word(b"false") {
                    return None;
                }
                output.set_text(index, *slot, offset + start as i64, offset + scanner.position as i64);
            }
            Kind::Number { slot, least, most } => {
                let number = scanner.number()?.float();
                if number < *least || number > *most {
                    return None;
                }
                output.numbers[slot * output.count + index] = number;
            }
            Kind::Time => {
                output.times[index] = time(scanner)?;
            }
        }
        Some(())
    }
}

fn time(scanner: &mut Scanner) -> Option<i64> {
    if scanner.peek() == Some(b'"') {
        let (start, end) = scanner.string()?;
        return instant::read(&scanner.text[start..end]);
    }
    let number = scanner.number()?;
    (number.decimals == 0 && number.value.abs() <= LATEST_MS).then_some(number.value)
}

/// Reads a description from its beginning.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.0.get(..count)?;
        self.0 = &self.0[count..];
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn float(&mut self) -> Option<f64> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Some(f64::from_le_bytes(bytes))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    fn texts(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.short()?;
        (0..count).map(|_| self.text().map(<[u8]>::to_vec)).collect()
    }
}
