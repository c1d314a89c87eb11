//! Texts as spans of a buffer: their hashes, the words that they are, and the rows of accounts that they name.

use std::collections::HashMap;

use crate::hash::xxh3_64;

/// Parts of a buffer; a negative start is no value.
pub struct Spans<'a> {
    buffer: &'a [u8],
    starts: &'a [i64],
    ends: &'a [i64],
}

impl<'a> Spans<'a> {
    pub fn new(buffer: &'a [u8], starts: &'a [i64], ends: &'a [i64]) -> Self {
        Spans { buffer, starts, ends }
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = (usize::try_from(self.starts[index]).ok()?, usize::try_from(self.ends[index]).ok()?);
        self.buffer.get(start..end)
    }

    pub fn start(&self, index: usize) -> i64 {
        self.starts[index]
    }
}

/// A text without the white space at its ends that Python's `str.strip` removes.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let plain = |byte: Option<&u8>| byte.map_or(true, |byte| *byte > b' ' && *byte < 0x80);
    if plain(text.first()) && plain(text.last()) {
        return text;
    }
    // What is no UTF-8 never comes here: records with it are not plain.
    std::str::from_utf8(text).map_or(text, |text| text.trim_matches(is_space).as_bytes())
}

/// What Python calls white space: Unicode's, and the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

pub fn hash_all(texts: &Spans, hashes: &mut [u64]) {
    for (index, hash) in hashes.iter_mut().enumerate() {
        let text = trimmed(texts.get(index).unwrap_or_default());
        *hash = if text.is_empty() { 0 } else { xxh3_64(text).max(1) };
    }
}

/// Words that lie one behind the other, given where each ends.
pub fn split<'a>(words: &'a [u8], ends: &[i64]) -> Vec<&'a [u8]> {
    let mut start = 0;
    let mut split = Vec::with_capacity(ends.len());
    for end in ends {
        let end = usize::try_from(*end).unwrap_or(0);
        split.push(words.get(start..end).unwrap_or_default());
        start = end;
    }
    split
}

pub fn match_all(texts: &Spans, words: &[&[u8]], codes: &mut [i64]) {
    for (index, code) in codes.iter_mut().enumerate() {
        let word = texts.get(index).and_then(|text| words.iter().position(|word| *word == text));
        *code = word.map_or(0, |position| position as i64 + 1);
    }
}

/// The row of each account id that was asked for, as it is written in records.
///
/// With the standard library's hash, which nobody can predict: strangers choose account ids.
#[derive(Default)]
pub struct Rows(HashMap<Box<[u8]>, i64>);

impl Rows {
    pub fn put_all(&mut self, names: &Spans, rows: &[i64]) {
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| **row >= 0) {
            if let Some(name) = names.get(index) {
                self.0.insert(name.into(), *row);
            }
        }
    }

    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(name);
    }

    pub fn get_all(&self, names: &Spans, rows: &mut [i64]) -> usize {
        let mut unknown = 0;
        for (index, row) in rows.iter_mut().enumerate() {
            let known = names.get(index).and_then(|name| self.0.get(name));
            unknown += usize::from(known.is_none());
            *row = known.copied().unwrap_or(-1);
        }
        unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_the_ends_does_not_count() {
        assert_eq!(trimmed(b" acme\t"), b"acme");
        assert_eq!(trimmed("\u{3000}a b\u{85}\u{1f}".as_bytes()), b"a b");
        assert_eq!(trimmed("né".as_bytes()), "né".as_bytes());
        assert_eq!(trimmed(b" "), b"");
    }

    #[test]
    fn a_span_outside_of_its_buffer_is_no_text() {
        let texts = Spans::new(b"acme", &[0, -1, 3, 2], &[4, 3, 9, 1]);
        let all: Vec<_> = (0..texts.len()).map(|index| texts.get(index)).collect();
        assert_eq!(all, [Some(&b"acme"[..]), None, None, None]);
    }

    #[test]
    fn rows_are_forgotten() {
        let mut rows = Rows::default();
        let (mut output, names) = ([0, 0], Spans::new(b"acmeb", &[0, 4], &[4, 5]));
        rows.put_all(&names, &[7, -1]);
        assert_eq!(rows.get_all(&names, &mut output), 1);
        assert_eq!(output, [7, -1]);
        rows.forget(b"acme");
        assert_eq!(rows.get_all(&names, &mut output), 2);
    }
}
