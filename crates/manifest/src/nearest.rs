//! The name that was probably meant.

/// Longer names are not compared: a typo is short, and comparing is quadratic.
const MAX_COMPARED: usize = 64;

/// Among more names than this a guess is worth less than its time.
const MAX_KNOWN: usize = 500;

/// The known name that is nearest to what was written, when it is near enough to be meant.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.len() > MAX_COMPARED {
        return None;
    }
    let far = (written.len() / 3).max(1);
    let near = |name: &'a str| Some((distance(written, name), name)).filter(|(d, _)| *d <= far);
    let comparable = known
        .into_iter()
        .filter(|name| name.len().abs_diff(written.len()) <= far);
    comparable
        .take(MAX_KNOWN)
        .filter_map(near)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// How many letters are to be changed, put in, left out or swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().collect(),
        b.to_lowercase().chars().collect(),
    );
    let mut rows = [
        vec![0; b.len() + 1],
        (0..=b.len()).collect(),
        vec![0; b.len() + 1],
    ];
    for i in 1..=a.len() {
        let [before, last, row] = &mut rows;
        row[0] = i;
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_near_and_another_word_is_not() {
        let known = [
            "allowed_outbound_hosts",
            "allowed_http_hosts",
            "source",
            "files",
            "http",
            "https",
        ];
        let rows = [
            ("allowed_outbound_host", Some("allowed_outbound_hosts")),
            ("alowed_outbond_hosts", Some("allowed_outbound_hosts")),
            ("suorce", Some("source")),
            ("Source", Some("source")),
            ("htps", Some("https")),
            ("file", Some("files")),
            ("memory", None),
            ("", None),
        ];
        for (written, expected) in rows {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }
}
