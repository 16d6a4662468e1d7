//! A header that is added at the door: the guest never has what is in it.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::error::Why;
use crate::header::is_ours;

/// A header that the door adds to the calls of one rule. Its value is a secret: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Inject {
    name: HeaderName,
    value: HeaderValue,
}

impl Inject {
    /// The header's name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The header's value: for the connection, never for a log. It is marked as sensitive.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    pub(crate) fn new(name: &str, value: &str) -> Result<Inject, Why> {
        let name = injectable(name)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| Why::InjectValue)?;
        value.set_sensitive(true);
        Ok(Inject { name, value })
    }
}

fn injectable(name: &str) -> Result<HeaderName, Why> {
    let shown = || crate::quote::escape(&crate::quote::shorten(name, 80));
    let name: HeaderName = name.parse().map_err(|_| Why::InjectName(shown()))?;
    if is_ours(name.as_str()) {
        return Err(Why::InjectOurs(name.as_str().into()));
    }
    Ok(name)
}

impl fmt::Debug for Inject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inject({}: ***)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_injected_is_printed_nowhere() {
        let inject = Inject::new("Authorization", "Bearer hunter2").expect("a header");
        assert_eq!(format!("{inject:?}"), "Inject(authorization: ***)");
        assert_eq!(format!("{:?}", inject.value()), "Sensitive");
    }

    #[test]
    fn only_a_field_of_the_message_is_injected() {
        for (name, value, why) in [
            ("a b", "x", Why::InjectName("a b".into())),
            ("", "x", Why::InjectName(String::new())),
            ("Host", "x", Why::InjectOurs("host".into())),
            (
                "content-length",
                "1",
                Why::InjectOurs("content-length".into()),
            ),
            (
                "Transfer_Encoding",
                "x",
                Why::InjectOurs("transfer_encoding".into()),
            ),
            ("x-key", "a\r\nb: c", Why::InjectValue),
            ("x-key", "a\0", Why::InjectValue),
        ] {
            assert_eq!(Inject::new(name, value), Err(why), "{name}");
        }
    }
}
