//! Integers and numbers within bounds, digit by digit.

use crate::document::MAX_SAFE_INTEGER;
use crate::generation::outline::Numbers;

/// Digits of a fraction.
const FRACTION: &str = r#"("." [0-9]{1,15})?"#;

/// The expression for numbers, and whether it holds the bounds. JSON's exponents are not written.
pub(super) fn expression(numbers: &Numbers) -> (String, bool) {
    if numbers.integer { integers(numbers) } else { fractions(numbers) }
}

/// Least and greatest, and whether these themselves are left out.
fn bounds(numbers: &Numbers) -> (Option<f64>, Option<f64>, bool, bool) {
    let Numbers { integer: _, least, greatest, above_least, below_greatest } = numbers;
    let bound = |stated: &Option<(String, f64)>| stated.as_ref().map(|(_, bound)| *bound);
    (bound(least), bound(greatest), *above_least, *below_greatest)
}

/// [`MAX_SAFE_INTEGER`] as a bound.
const LARGEST: f64 = 9_007_199_254_740_991.0;

#[expect(clippy::cast_possible_truncation, reason = "clamped to integers that f64 holds")]
fn clamped(bound: f64) -> i64 {
    bound.clamp(-LARGEST, LARGEST) as i64
}

fn integers(numbers: &Numbers) -> (String, bool) {
    let (least, greatest, above_least, below_greatest) = bounds(numbers);
    let least = least.map(|least| if above_least { least.floor() + 1.0 } else { least.ceil() });
    let greatest = greatest.map(|greatest| if below_greatest { greatest.ceil() - 1.0 } else { greatest.floor() });
    let (from, to) = (least.map_or(-MAX_SAFE_INTEGER, clamped), greatest.map_or(MAX_SAFE_INTEGER, clamped));
    if from > to {
        // Nothing lies between: any integer is written and the bounds refuse it.
        return (between(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER), false);
    }
    // A bound beyond the integers that are written leaves none of them, or all.
    let beyond = least.is_some_and(|least| least > LARGEST) || greatest.is_some_and(|greatest| greatest < -LARGEST);
    (between(from, to), !beyond)
}

/// Integers from one to another, both included and `from` at most `to`.
fn between(from: i64, to: i64) -> String {
    let mut ways = Vec::new();
    if from < 0 {
        let nearest = if to < 0 { to.unsigned_abs() } else { 1 };
        ways.push(format!("\"-\" {}", grouped(&digits(nearest, from.unsigned_abs()))));
    }
    if to >= 0 {
        let start = u64::try_from(from).unwrap_or(0);
        ways.push(grouped(&digits(start, to.unsigned_abs())));
    }
    grouped(&ways)
}

fn fractions(numbers: &Numbers) -> (String, bool) {
    let (least, greatest, above_least, below_greatest) = bounds(numbers);
    let any = format!("\"-\"? {} {FRACTION}", grouped(&digits(0, MAX_SAFE_INTEGER.unsigned_abs())));
    let whole = |bound: f64| bound.fract() == 0.0 && bound >= 0.0;
    match (least, greatest) {
        (None, None) => (any, true),
        (Some(from), None) if whole(from) => {
            let from = clamped(from).unsigned_abs();
            let to = MAX_SAFE_INTEGER.unsigned_abs();
            (format!("{} {FRACTION}", grouped(&digits(from.min(to), to))), !above_least)
        }
        (Some(from), Some(to)) if whole(from) && whole(to) && from <= to => {
            let (from, to) = (clamped(from).unsigned_abs(), clamped(to).unsigned_abs());
            let mut ways = Vec::new();
            if from < to {
                ways.push(format!("{} {FRACTION}", grouped(&digits(from, to - 1))));
            }
            ways.push(format!("\"{to}\" (\".\" \"0\"{{1,15}})?"));
            (grouped(&ways), !above_least && !below_greatest)
        }
        _ => (any, false),
    }
}

/// Decimal texts of the integers from one to another, without leading zeros.
fn digits(from: u64, to: u64) -> Vec<String> {
    let mut ways = Vec::new();
    let mut start = from;
    // Numbers of one length at a time.
    while start <= to {
        let length = start.max(1).ilog10() + 1;
        let end = to.min(10_u64.pow(length) - 1);
        same_length(&padded(start, length), &padded(end, length), "", &mut ways);
        start = end + 1;
    }
    ways
}

fn padded(number: u64, length: u32) -> Vec<u8> {
    format!("{number:0length$}", length = length as usize).into_bytes()
}

/// Digit strings of one length from `from` to `to`; `before` is what all of them start with.
fn same_length(from: &[u8], to: &[u8], before: &str, ways: &mut Vec<String>) {
    let (Some((&first, from_rest)), Some((&last, to_rest))) = (from.split_first(), to.split_first()) else {
        ways.push(before.trim_start().to_owned());
        return;
    };
    let with = |digits: String| format!("{before} {digits}");
    let rest = from_rest.len();
    if first == last {
        return same_length(from_rest, to_rest, &with(digit(first, first)), ways);
    }
    let (mut low, mut high) = (first, last);
    if from_rest.iter().any(|digit| *digit != b'0') {
        same_length(from_rest, &vec![b'9'; rest], &with(digit(first, first)), ways);
        low += 1;
    }
    let partial = to_rest.iter().any(|digit| *digit != b'9');
    if partial {
        high -= 1;
    }
    if low <= high {
        let any = match rest {
            0 => String::new(),
            1 => " [0-9]".to_owned(),
            _ => format!(" [0-9]{{{rest}}}"),
        };
        ways.push(with(digit(low, high) + &any).trim_start().to_owned());
    }
    if partial {
        same_length(&vec![b'0'; rest], to_rest, &with(digit(last, last)), ways);
    }
}

fn digit(low: u8, high: u8) -> String {
    let (low, high) = (char::from(low), char::from(high));
    if low == high { format!("\"{low}\"") } else { format!("[{low}-{high}]") }
}

fn grouped(ways: &[String]) -> String {
    if let [only] = ways { only.clone() } else { format!("({})", ways.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of ways from [`digits`] accepts, by plain enumeration.
    fn accepts(ways: &[String], number: u64) -> bool {
        let text = number.to_string();
        ways.iter().any(|way| {
            let mut left = text.as_bytes();
            for part in way.split(' ') {
                let (class, times) = match part.split_once('{') {
                    Some((class, times)) => (class, times.trim_end_matches('}').parse().expect("a number")),
                    None => (part, 1),
                };
                let class = class.as_bytes();
                let (low, high) = if class[0] == b'"' { (class[1], class[1]) } else { (class[1], class[3]) };
                for _ in 0..times {
                    match left.split_first() {
                        Some((digit, rest)) if (low..=high).contains(digit) => left = rest,
                        _ => return false,
                    }
                }
            }
            left.is_empty()
        })
    }

    #[test]
    fn digits_hold_a_range_and_nothing_else() {
        for (from, to) in [(0, 0), (0, 9), (0, 5), (3, 3000), (1, 65535), (10, 10), (99, 101), (128, 1024), (0, 2047)] {
            let ways = digits(from, to);
            for number in 0..70_000 {
                assert_eq!(
                    accepts(&ways, number),
                    (from..=to).contains(&number),
                    "{number} in {from}..={to}: {ways:?}"
                );
            }
        }
    }
}
