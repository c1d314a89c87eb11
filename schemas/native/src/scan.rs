//! Reading JSON byte by byte: what is certain to be valid, and nothing else.
//!
//! A function returns None wherever a value needs a second look: escapes, exponents, many digits, deep nesting, and
//! everything that is wrong. Such a record is decoded in Python, which says what it is.

const MOST_DIGITS: usize = 15;
/// So many digits are exact in a float64, and so is every power of ten up to 10^22.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
const DEEPEST: usize = 16;

const ONES: u64 = u64::MAX / 255;
const HIGH_BITS: u64 = ONES * 0x80;

/// How many bytes of a text come before the first quotation mark, backslash or control character, eight in one go.
fn plain_length(text: &[u8]) -> usize {
    let mut words = text.chunks_exact(8);
    let mut length = 0;
    for chunk in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        let word = u64::from_le_bytes(bytes);
        let (quote, escape) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        // The lowest of these bits belongs to the first such byte; those above can be wrong.
        let ends = (quote.wrapping_sub(ONES) & !quote)
            | (escape.wrapping_sub(ONES) & !escape)
            | (word.wrapping_sub(ONES * u64::from(b' ')) & !word);
        if ends & HIGH_BITS != 0 {
            return length + (ends & HIGH_BITS).trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_end = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
    length + words.remainder().iter().position(is_end).unwrap_or(words.remainder().len())
}

/// A position in a text.
pub struct Scanner<'a> {
    pub text: &'a [u8],
    pub position: usize,
}

/// A number as it is written: `value` times 10 to the power of minus `decimals`.
pub struct Number {
    pub value: i64,
    pub decimals: usize,
}

impl Number {
    /// The nearest float64: a quotient of two that are exact is rounded once.
    pub fn float(&self) -> f64 {
        self.value as f64 / POWERS[self.decimals]
    }
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, position: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    /// Go past a byte, if it is the next one.
    pub fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.position += usize::from(taken);
        taken
    }

    /// Go past a word such as `null`, if it is next.
    pub fn take_word(&mut self, word: &[u8]) -> bool {
        let taken = self.text[self.position..].starts_with(word);
        self.position += if taken { word.len() } else { 0 };
        taken
    }

    /// The first and last-plus-one positions of a string's characters, without escapes.
    pub fn string(&mut self) -> Option<(usize, usize)> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.position;
        let length = plain_length(&self.text[start..]);
        self.position = start + length;
        self.take(b'"').then_some((start, start + length))
    }

    /// A number of up to 15 digits without an exponent; not minus zero, which is two different numbers.
    pub fn number(&mut self) -> Option<Number> {
        let negative = self.take(b'-');
        let (mut value, whole) = self.digits(0)?;
        if whole > 1 && self.text[self.position - whole] == b'0' {
            return None;
        }
        let mut decimals = 0;
        if self.take(b'.') {
            (value, decimals) = self.digits(value)?;
        }
        let is_next = matches!(self.peek(), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        if whole + decimals > MOST_DIGITS || !is_next || (negative && value == 0) {
            return None;
        }
        Some(Number { value: if negative { -value } else { value }, decimals })
    }

    /// `value` continued by digits, and how many there are: at least one, and no more than `MOST_DIGITS`.
    fn digits(&mut self, mut value: i64) -> Option<(i64, usize)> {
        let start = self.position;
        for byte in self.text[start..].iter().take_while(|byte| byte.is_ascii_digit()) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            self.position += 1;
        }
        let count = self.position - start;
        (count > 0 && count <= MOST_DIGITS).then_some((value, count))
    }

    /// Go past any value.
    pub fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' if depth < DEEPEST => self.skip_all(b'}', depth, true),
            b'[' if depth < DEEPEST => self.skip_all(b']', depth, false),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => (self.take_word(b"null") || self.take_word(b"true") || self.take_word(b"false")).then_some(()),
        }
    }

    /// Go past an object or a list.
    fn skip_all(&mut self, end: u8, depth: usize, has_names: bool) -> Option<()> {
        self.position += 1;
        self.skip_space();
        if self.take(end) {
            return Some(());
        }
        loop {
            self.skip_space();
            if has_names {
                self.string()?;
                self.skip_space();
                if !self.take(b':') {
                    return None;
                }
                self.skip_space();
            }
            self.skip(depth + 1)?;
            self.skip_space();
            if self.take(end) {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{plain_length, Scanner};

    fn number(text: &str) -> Option<f64> {
        Scanner::new(text.as_bytes()).number().map(|number| number.float())
    }

    #[test]
    fn numbers_that_are_certain() {
        assert_eq!(number("0"), Some(0.0));
        assert_eq!(number("-12.5,"), Some(-12.5));
        assert_eq!(number("0.1}"), Some(0.1));
        assert_eq!(number("123456789012345 "), Some(123_456_789_012_345.0));
    }

    #[test]
    fn numbers_that_need_a_second_look() {
        for text in ["-0", "-0.0", "01", "1.", ".5", "1e3", "1x", "-", "", "1234567890123456", "99999999999999999999"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn the_plain_part_of_a_text() {
        for end in ['"', '\\', '\n', '\0', '\u{1f}'] {
            for length in 0..20 {
                let text = "é~!ab ".repeat(4)[..].chars().take(length).collect::<String>();
                assert_eq!(plain_length(format!("{text}{end}\"\\   ").as_bytes()), text.len());
            }
        }
        assert_eq!(plain_length("no end of it at all".as_bytes()), 19);
    }

    #[test]
    fn values_are_skipped_only_if_they_are_valid() {
        let skips = |text: &str| {
            let mut scanner = Scanner::new(text.as_bytes());
            scanner.skip(0).is_some() && scanner.position == text.len()
        };
        for text in ["{}", "[ ]", r#"{"a": [1, {"b": null}], "c":true}"#, r#""text""#, "false"] {
            assert!(skips(text), "{text}");
        }
        for text in ["{", "[1,]", r#"{"a"}"#, r#"{"a":1,}"#, r#""\u0041""#, "nul", "[1 2]", r#"{a:1}"#] {
            assert!(!skips(text), "{text}");
        }
        assert!(!skips(&("[".repeat(20) + &"]".repeat(20))));
    }
}
