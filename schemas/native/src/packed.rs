//! Values in which a word of eight bytes that repeats is stored once.
//!
//! A row of an account is mostly one number many times: panes without events, alerts that never fired.

const WORD: usize = 8;
const HEADER: usize = 4;
const LONGEST: usize = u16::MAX as usize;
/// So many words are the same at least that they are stored as one.
const FEWEST: usize = 3;

fn word(bytes: &[u8], at: usize) -> [u8; WORD] {
    let mut word = [0; WORD];
    word.copy_from_slice(&bytes[at..at + WORD]);
    word
}

/// Write a value as pieces: how many bytes differ and how often the word behind them repeats, these bytes, the word.
pub fn pack(value: &[u8], packed: &mut Vec<u8>) {
    packed.clear();
    let (mut start, mut at) = (0, 0);
    while at + FEWEST * WORD <= value.len() {
        let repeated = word(value, at);
        if repeated != word(value, at + WORD) || repeated != word(value, at + 2 * WORD) {
            at += WORD;
            continue;
        }
        let mut begin = at;
        while begin > start && value[begin - 1] == value[begin - 1 + WORD] {
            begin -= 1;
        }
        let repeated = word(value, begin);
        let mut end = begin + FEWEST * WORD;
        while end + WORD <= value.len() && word(value, end) == repeated {
            end += WORD;
        }
        put_piece(&value[start..begin], (end - begin) / WORD, repeated, packed);
        start = end;
        at = end;
    }
    if start < value.len() {
        put_piece(&value[start..], 0, [0; WORD], packed);
    }
}

fn put_piece(literals: &[u8], mut repeats: usize, repeated: [u8; WORD], packed: &mut Vec<u8>) {
    let mut rest = literals;
    while rest.len() > LONGEST {
        put_header(LONGEST, 0, packed);
        packed.extend_from_slice(&rest[..LONGEST]);
        rest = &rest[LONGEST..];
    }
    let first = repeats.min(LONGEST);
    put_header(rest.len(), first, packed);
    packed.extend_from_slice(rest);
    if first > 0 {
        packed.extend_from_slice(&repeated);
    }
    repeats -= first;
    while repeats > 0 {
        let next = repeats.min(LONGEST);
        put_header(0, next, packed);
        packed.extend_from_slice(&repeated);
        repeats -= next;
    }
}

fn put_header(literals: usize, repeats: usize, packed: &mut Vec<u8>) {
    packed.extend_from_slice(&(literals as u16).to_le_bytes());
    packed.extend_from_slice(&(repeats as u16).to_le_bytes());
}

/// Write what follows the first `skip` bytes of a value, as far as it fits; `None` if it does not fill the output.
pub fn unpack(packed: &[u8], skip: usize, output: &mut [u8]) -> Option<()> {
    let (mut rest, mut at, mut written) = (packed, 0, 0);
    while written < output.len() {
        let header = rest.get(..HEADER)?;
        let literals = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let repeats = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let end = HEADER + literals;
        let bytes = rest.get(HEADER..end)?;
        let wanted = bytes.get(skip.saturating_sub(at)..).unwrap_or_default();
        let count = wanted.len().min(output.len() - written);
        output[written..written + count].copy_from_slice(&wanted[..count]);
        written += count;
        at += literals;
        rest = &rest[end..];
        if repeats > 0 {
            let repeated = rest.get(..WORD)?;
            let passed = skip.saturating_sub(at).min(repeats * WORD);
            let count = (repeats * WORD - passed).min(output.len() - written);
            fill(&mut output[written..written + count], repeated, passed % WORD);
            written += count;
            at += repeats * WORD;
            rest = &rest[WORD..];
        }
    }
    Some(())
}

/// Fill with a word again and again, from its byte `phase` on.
fn fill(output: &mut [u8], repeated: &[u8], phase: usize) {
    if repeated.iter().all(|byte| *byte == repeated[0]) {
        output.fill(repeated[0]);
        return;
    }
    let mut word = [0; WORD];
    for (index, byte) in word.iter_mut().enumerate() {
        *byte = repeated[(phase + index) % WORD];
    }
    for chunk in output.chunks_mut(WORD) {
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_is_packed_and_unpacked() {
        let ring = [0, 0, 0, 0, 0, 0, 0xf0, 0xff].repeat(20);
        let long = [vec![0; 9 * LONGEST + 3], (0..=255).cycle().take(3 * LONGEST).collect(), vec![7; 70]].concat();
        let mixed = [&b"abc"[..], &[0; 30], b"defgh", &ring, &[0; 23], b"x", &[0; 25]].concat();
        for value in [&b""[..], b"a", &[0; 24], &[0; 23], &[1; 100], &ring, &mixed, &mixed[2..], &mixed[5..170], &long]
        {
            let mut packed = Vec::new();
            pack(value, &mut packed);
            for skip in [0, 1, 3, 8, 11, 40, 100, value.len()] {
                let mut output = vec![0xaa; value.len().saturating_sub(skip)];
                unpack(&packed, skip, &mut output).unwrap();
                assert_eq!(output, value[skip.min(value.len())..]);
            }
            let mut head = vec![0xaa; value.len() / 2];
            unpack(&packed, 0, &mut head).unwrap();
            assert_eq!(head, value[..value.len() / 2]);
            assert_eq!(unpack(&packed, 0, &mut vec![0; value.len() + 1]), None);
        }
        let mut packed = Vec::new();
        pack(&ring, &mut packed);
        assert_eq!(packed.len(), HEADER + WORD);
    }
}
