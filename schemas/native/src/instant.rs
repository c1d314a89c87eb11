//! RFC 3339 times as milliseconds since 1970.

const MILLISECONDS_OF_DAY: i64 = 86_400_000;

/// The time of a text such as `2026-11-28T09:30:00.125Z`, with up to six digits of a second's fraction, of which those
/// after the third are cut off. None for anything else, which need not be wrong.
pub fn read(text: &[u8]) -> Option<i64> {
    let (year, month, day) = (digits(text.get(0..4)?)?, digits(text.get(5..7)?)?, digits(text.get(8..10)?)?);
    let (hour, minute, second) = (digits(text.get(11..13)?)?, digits(text.get(14..16)?)?, digits(text.get(17..19)?)?);
    let separators = (text[4], text[7], text[10], text[13], text[16]) == (b'-', b'-', b'T', b':', b':');
    let in_range = year >= 1971 && (1..=12).contains(&month) && day >= 1 && day <= days_of(year, month);
    if !separators || !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_ms, rest) = fraction(&text[19..])?;
    let days = days_since_1970(year, month, day);
    let in_day = ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms;
    Some(days * MILLISECONDS_OF_DAY + in_day - offset_ms(rest)?)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.first() != Some(&b'.') {
        return Some((0, text));
    }
    let length = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 6 {
        return None;
    }
    let shown = &text[1..=length.min(3)];
    let scale = [0, 100, 10, 1][shown.len()];
    Some((digits(shown)? * scale, &text[1 + length..]))
}

fn offset_ms(text: &[u8]) -> Option<i64> {
    if text == b"Z" {
        return Some(0);
    }
    if text.len() != 6 || text[3] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&text[1..3])?, digits(&text[4..6])?);
    let sign = match text[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 60 + minute) * 60_000)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar: whole years, counted from March, then days in the year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn known_times() {
        assert_eq!(read(b"2026-11-28T00:00:00Z"), Some(1_795_824_000_000));
        assert_eq!(read(b"2024-02-29T23:59:59.9999+01:30"), Some(1_709_245_799_999));
        assert_eq!(read(b"2000-03-01T00:00:00.5-00:30"), Some(951_870_600_500));
    }

    #[test]
    fn everything_else_is_left_to_others() {
        for text in [
            "2025-02-29T00:00:00Z",
            "2026-11-28 00:00:00Z",
            "2026-11-28T00:00:60Z",
            "2026-11-28T00:00:00",
            "2026-11-28T00:00:00.1234567Z",
            "2026-11-28T24:00:00Z",
            "2026-11-28T00:00:00+24:00",
            "",
            "2026",
            "2026-1a-28T00:00:00Z",
            "2026-11-28T00:00:00.Z",
            "1970-01-01T00:00:00Z",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
