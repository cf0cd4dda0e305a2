//! What of a file counts as code.

/// Lines before the module of tests.
pub(crate) fn n_code_lines(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && (pair[1].contains("mod ") || pair[1].starts_with("#["))
    });
    tests.unwrap_or(lines.len())
}
