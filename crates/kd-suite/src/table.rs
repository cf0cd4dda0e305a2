//! Tables of text.

/// Rows in columns as wide as their widest cell, a line each; those in `right` end below each other.
pub fn table<const N: usize>(rows: &[[String; N]], indent: &str, right: &[usize]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cell = |i: usize| match right.contains(&i) {
            true => format!("{:>1$}", row[i], widths[i]),
            false => format!("{:<1$}", row[i], widths[i]),
        };
        format!("{indent}{}", (0..N).map(cell).collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
