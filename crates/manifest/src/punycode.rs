//! Whether a label that begins with `xn--` is one that a name could have.

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 0x80;

/// Whether the part of a label after `xn--` decodes (RFC 3492) to characters that a name may have.
pub(crate) fn is_valid(encoded: &str) -> bool {
    let (basic, extended) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    if extended.is_empty() {
        return false;
    }
    let mut length = basic.len() as u32;
    let (mut n, mut i, mut bias) = (INITIAL_N, 0u32, INITIAL_BIAS);
    let mut digits = extended.bytes();
    while digits.len() > 0 {
        let Some(delta) = integer(&mut digits, bias) else {
            return false;
        };
        let Some(position) = i.checked_add(delta) else {
            return false;
        };
        length += 1;
        bias = adapt(delta, length, i == 0 && length == basic.len() as u32 + 1);
        n = match n.checked_add(position / length) {
            Some(n) if is_name_character(n) => n,
            _ => return false,
        };
        i = position % length + 1;
    }
    true
}

/// One variable-length integer.
fn integer(digits: &mut std::str::Bytes<'_>, bias: u32) -> Option<u32> {
    let (mut value, mut weight, mut k) = (0u32, 1u32, BASE);
    loop {
        let digit = match digits.next()? {
            letter @ b'a'..=b'z' => u32::from(letter - b'a'),
            number @ b'0'..=b'9' => u32::from(number - b'0') + 26,
            _ => return None,
        };
        value = value.checked_add(digit.checked_mul(weight)?)?;
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if digit < threshold {
            return Some(value);
        }
        weight = weight.checked_mul(BASE - threshold)?;
        k += BASE;
    }
}

fn adapt(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / length;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

/// Lower-case letters, digits, marks and symbols: no control, space or private character, and nothing that has a lower case.
fn is_name_character(code: u32) -> bool {
    let Some(c) = char::from_u32(code) else {
        return false;
    };
    let private =
        matches!(code, 0xe000..=0xf8ff | 0xf0000.. | 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe;
    !c.is_control() && !c.is_whitespace() && !c.is_uppercase() && !private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c46_a_label_is_punycode_or_it_is_refused() {
        let rows = [
            ("mnchen-3ya", true),  // münchen
            ("bcher-kva", true),   // bücher
            ("allowed-q1a", true), // a look-alike: valid, and another name
            ("fiqs8s", true),      // 中国
            ("p1ai", true),        // рф
            ("80ak6aa92e", true),  // аррӏе
            ("fa-hia", true),      // faß without its end
            ("a", false),          // a control character
            ("", false),
            ("abc-", false),     // nothing encoded
            ("99999999", false), // overflows
            ("a!b", false),
            ("zzzzzzzzzzzzz99999", false),
            ("-", false),
        ];
        for (encoded, expected) in rows {
            assert_eq!(is_valid(encoded), expected, "{encoded}");
        }
    }
}
