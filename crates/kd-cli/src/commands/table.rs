//! Tables on stdout.

/// Prints rows in columns as wide as their widest cell; those in `right` end below each other.
pub(super) fn print<const N: usize>(rows: &[[String; N]], indent: &str, right: &[usize]) {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cell = |i: usize| match right.contains(&i) {
            true => format!("{:>1$}", row[i], widths[i]),
            false => format!("{:<1$}", row[i], widths[i]),
        };
        let line = (0..N).map(cell).collect::<Vec<_>>().join("  ");
        println!("{indent}{}", line.trim_end());
    }
}
