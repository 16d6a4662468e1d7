//! What may reach a terminal.

/// A terminal shows it, and obeys nothing in it.
///
/// # Panics
/// Where it is not so.
pub(crate) fn is_fit_for_a_terminal(text: &str) {
    let found = text.chars().find(|c| {
        let changes_others = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        *c != '\n' && c.is_control() || changes_others
    });
    assert_eq!(found, None, "{text:?}");
}
