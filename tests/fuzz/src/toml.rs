//! Any text as a value of TOML.

/// A string that is this text, with everything escaped that could be something else.
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || " -._~/:;,*{}[]@%+".contains(c) => c.to_string(),
        c => format!("\\U{:08X}", u32::from(c)),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
