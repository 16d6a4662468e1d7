//! As much JSON as a report needs: every function returns a value.

/// A string.
pub fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}

/// An array of values.
pub fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// An object of values.
pub fn object<K: AsRef<str>>(members: impl IntoIterator<Item = (K, String)>) -> String {
    let members = members
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", string(key.as_ref())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// An array of pairs of strings; what is no UTF-8 is replaced.
pub fn pairs(pairs: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
    array(
        pairs
            .into_iter()
            .map(|(name, value)| array([string(&name), string(&String::from_utf8_lossy(&value))])),
    )
}
