//! Durations as owners write them (`90s`, `1m30s`, `1.5h`), in the one form that is written.
//!
//! Decides what Istio takes: at least a millisecond, in whole milliseconds (Istio source, `ValidateDuration`).

/// Nanoseconds of each unit that Go reads.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Milliseconds of a duration.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn millis(text: &str) -> Result<u64, &'static str> {
    let nanos = nanos(text.trim()).ok_or("is not a duration such as 90s")?;
    if nanos < NANOS_PER_MILLI {
        return Err("is shorter than 1ms");
    }
    if nanos % NANOS_PER_MILLI != 0 {
        return Err("is not in whole milliseconds");
    }
    Ok(nanos / NANOS_PER_MILLI)
}

/// A duration in the form that is written: seconds, with a fraction where there is one.
pub(super) fn written(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    format!("{seconds}{}s", fraction.trim_end_matches('0'))
}

fn nanos(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, further) = behind.split_at(end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        sum = sum.checked_add(whole.checked_mul(*size)?)?;
        let mut place = *size;
        for digit in fraction.bytes() {
            place /= 10;
            sum = sum.checked_add(u64::from(digit - b'0') * place)?;
        }
        rest = further;
    }
    i64::try_from(sum).ok().map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them_and_written_in_seconds() {
        let seconds = |text| millis(text).map(written);
        for (text, wanted) in [
            ("90s", "90s"),
            ("1m30s", "90s"),
            ("1.5h", "5400s"),
            ("30ms", "0.03s"),
            (" 1h ", "3600s"),
            ("1.25s", "1.25s"),
        ] {
            assert_eq!(seconds(text).as_deref(), Ok(wanted), "{text}");
        }
        for text in
            ["", "5", "s", "-5s", "1x", "1.2.3s", ".s", "five", "1s2", "99999999999h", "0", "0s", "1us", "1.0005s"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
