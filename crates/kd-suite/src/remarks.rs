//! What a user should know of the images that were read.

/// Says the remarks of each part on stderr, each line once.
pub(crate) fn tell(parts: &[&[String]]) {
    let mut told: Vec<&str> = Vec::new();
    for line in parts.iter().flat_map(|remarks| remarks.iter()) {
        if !told.contains(&line.as_str()) {
            eprintln!("{line}");
            told.push(line);
        }
    }
}
