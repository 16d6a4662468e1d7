//! What whoever compiles tells, as bytes: to its parent, and to the next start by way of the cache.

use runner_manifest::Code;

use super::{Needs, Refusal};

/// A component that is compiled: its code, and what else is to be known of it.
pub(crate) struct Compiled {
    /// Who made it, from its metadata: `wit-component 0.254.2, rustc 1.95.0`.
    pub(crate) producers: Option<String>,
    /// What an instance of it takes at least.
    pub(crate) needs: Needs,
    bytes: Vec<u8>,
    /// Where in `bytes` the code begins.
    code: usize,
}

impl Compiled {
    pub(crate) fn new(producers: Option<String>, needs: Needs, code: &[u8]) -> Compiled {
        let mut bytes = Vec::with_capacity(code.len() + 256);
        for number in needs.to_numbers() {
            bytes.extend(number.to_le_bytes());
        }
        put(&mut bytes, producers.as_deref().unwrap_or_default());
        bytes.extend((code.len() as u64).to_le_bytes());
        let at = bytes.len();
        bytes.extend(code);
        Compiled {
            producers,
            needs,
            bytes,
            code: at,
        }
    }

    /// What [`Compiled::as_bytes`] gave.
    pub(crate) fn decode(bytes: Vec<u8>) -> Option<Compiled> {
        let mut rest = bytes.as_slice();
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = take_number(&mut rest)?;
        }
        let producers = take(&mut rest)?;
        if take_number(&mut rest)? != rest.len() as u64 {
            return None;
        }
        let code = bytes.len() - rest.len();
        Some(Compiled {
            producers: (!producers.is_empty()).then_some(producers),
            needs: Needs::of_numbers(numbers),
            bytes,
            code,
        })
    }

    /// All of it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `wasmtime` made of it.
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[self.code..]
    }

    /// A note that says who made it, where its metadata does.
    pub(crate) fn made_by(&self) -> Option<String> {
        let producers = self.producers.as_ref()?;
        Some(format!("made by: {producers}"))
    }
}

/// The last byte of an answer says what it is.
const COMPILED: u8 = b'c';
const REFUSED: u8 = b'r';

/// An answer as it is written.
pub(super) fn encode(answer: Result<Compiled, Refusal>) -> Vec<u8> {
    match answer {
        Ok(Compiled { mut bytes, .. }) => {
            bytes.push(COMPILED);
            bytes
        }
        Err(Refusal { code, what, help }) => {
            let mut bytes = Vec::new();
            for text in [code.as_str(), &what, &help] {
                put(&mut bytes, text);
            }
            bytes.push(REFUSED);
            bytes
        }
    }
}

/// An answer that is whole: one that is cut short, or longer, is none.
pub(super) fn decode(mut bytes: Vec<u8>) -> Option<Result<Compiled, Refusal>> {
    match bytes.pop()? {
        COMPILED => Compiled::decode(bytes).map(Ok),
        REFUSED => refusal(&bytes).map(Err),
        _ => None,
    }
}

fn refusal(mut bytes: &[u8]) -> Option<Refusal> {
    let (code, what, help) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
    if !bytes.is_empty() {
        return None;
    }
    let code = *Code::ALL.iter().find(|known| known.as_str() == code)?;
    Some(Refusal { code, what, help })
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let number = bytes.split_off(..8)?.first_chunk()?;
    Some(u64::from_le_bytes(*number))
}

fn take(bytes: &mut &[u8]) -> Option<String> {
    let length = take_number(bytes)?;
    let text = bytes.split_off(..usize::try_from(length).ok()?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written_and_one_that_is_cut_is_none() {
        let needs = Needs::of_numbers([1, 2, 3, 4, 5]);
        let compiled = Compiled::new(Some("rustc".into()), needs, b"code");
        let written = encode(Ok(compiled));
        let read = decode(written.clone()).unwrap().ok().unwrap();
        assert_eq!(
            (read.producers.as_deref(), read.needs, read.code()),
            (Some("rustc"), needs, &b"code"[..])
        );

        let refusal = Refusal {
            code: Code::ComponentDamaged,
            what: "it is damaged".into(),
            help: "build it again".into(),
        };
        let refused = encode(Err(refusal.clone()));
        assert_eq!(decode(refused.clone()).unwrap().err(), Some(refusal));

        for whole in [written, refused] {
            for end in 0..whole.len() {
                assert!(decode(whole[..end].to_vec()).is_none(), "{end}");
            }
        }
    }
}
