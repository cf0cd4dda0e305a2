//! What a user should know of the images that were read.

use kd_data::Part;

/// Says it on stderr, each line once.
pub(crate) fn tell(parts: &[&Part]) {
    let mut told: Vec<&str> = Vec::new();
    for line in parts.iter().flat_map(|part| part.remarks()) {
        if !told.contains(&line.as_str()) {
            eprintln!("{line}");
            told.push(line);
        }
    }
}
