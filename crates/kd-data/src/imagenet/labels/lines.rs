//! Lines of a text file, which know where they stand.

use std::collections::BTreeMap;

use super::{Checked, Fault, Wnid, val_name};

/// One line, without its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'t> {
    /// Counted from 1.
    pub(super) number: u32,
    /// Byte of the file at which it begins.
    offset: u64,
    pub(super) text: &'t str,
}

/// The lines of a file whose lines end in LF or CR LF; the last one needs no end.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    // Editors and shells leave empty lines at the end.
    let end = text.trim_end_matches(['\r', '\n']).len();
    let end = text[end..].find('\n').map_or(text.len(), |first| end + first + 1);
    (1..).zip(text[..end].split_inclusive('\n')).map(move |(number, line)| {
        let begin = offset;
        offset += line.len() as u64;
        let line =
            line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        Line { number, offset: begin, text: line }
    })
}

impl Line<'_> {
    /// A fault in this line.
    pub(super) fn fault(&self, reason: impl std::fmt::Display) -> Fault {
        Fault::new(self.offset, format!("line {}: {reason}", self.number))
    }

    /// The fault that the line is something else than `expected`.
    pub(super) fn unexpected(&self, expected: &str) -> Fault {
        let mut shown: String = self.text.chars().take(60).collect();
        if shown.len() < self.text.len() {
            shown.push_str("...");
        }
        self.fault(format_args!("{shown:?}, expected {expected}"))
    }

    /// Notes the label that this line gives an image.
    pub(super) fn label(
        &self,
        wnids: &mut BTreeMap<u32, Wnid>,
        number: u32,
        wnid: Wnid,
    ) -> Checked<()> {
        match wnids.insert(number, wnid) {
            None => Ok(()),
            Some(_) => Err(self.fault(format_args!("{} a second time", val_name(number)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(u32, u64, &str)> {
        lines(text).map(|line| (line.number, line.offset, line.text)).collect()
    }

    #[test]
    fn both_line_ends_are_cut_off_and_offsets_are_those_of_the_file() {
        assert_eq!(all("a\r\n\nbc\n"), [(1, 0, "a"), (2, 3, ""), (3, 4, "bc")]);
        assert_eq!(all("a\r\nb\r"), [(1, 0, "a"), (2, 3, "b\r")]);
        assert_eq!(all(""), []);
    }

    #[test]
    fn a_fault_shows_where_and_what() {
        let line = Line { number: 7, offset: 99, text: "\u{1b}[2Jx" };
        let fault = line.unexpected("a number");
        assert_eq!(fault.offset, 99);
        assert_eq!(fault.reason, "line 7: \"\\u{1b}[2Jx\", expected a number");
        let long = "x".repeat(1000);
        assert!(Line { text: &long, ..line }.unexpected("").reason.len() < 100);
    }
}
