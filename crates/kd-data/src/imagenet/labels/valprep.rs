//! `valprep.sh`, a shell script that sorts the validation images; read, never executed.
//!
//! Lines `mkdir -p n01440764` for each class, then `mv ILSVRC2012_val_00000293.JPEG n01440764/`
//! for each image (the published script has a tab at the end of each); besides these, only
//! blank lines and comments.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{Line, lines};
use super::{Checked, Wnid, val_number};

const EXPECTED: &str =
    "`mkdir -p nDDDDDDDD` or `mv ILSVRC2012_val_DDDDDDDD.JPEG nDDDDDDDD/`; the script is not run";

/// The label of each image.
///
/// # Errors
/// The first line that is none of those above, moves an image a second time, or moves one into
/// a folder that no line before it made.
pub(super) fn parse(text: &str) -> Checked<BTreeMap<u32, Wnid>> {
    let (mut wnids, mut folders) = (BTreeMap::new(), BTreeSet::new());
    for line in lines(text) {
        match read(&line)? {
            Command::None => {}
            Command::Make(wnid) => drop(folders.insert(wnid)),
            Command::Move(_, wnid) if !folders.contains(&wnid) => {
                return Err(line.fault(format_args!("folder {wnid} was not made before")));
            }
            Command::Move(number, wnid) => line.label(&mut wnids, number, wnid)?,
        }
    }
    Ok(wnids)
}

/// What a line does.
enum Command {
    None,
    Make(Wnid),
    Move(u32, Wnid),
}

fn read(line: &Line<'_>) -> Checked<Command> {
    let words: Vec<_> = line.text.split_ascii_whitespace().collect();
    let folder = |word: &str| Wnid::parse(word.strip_suffix('/').unwrap_or(word));
    let command = match words[..] {
        [] => Some(Command::None),
        [first, ..] if first.starts_with('#') => Some(Command::None),
        ["mkdir", "-p", name] | ["mkdir", name] => folder(name).map(Command::Make),
        ["mv", image, name] => {
            val_number(image).zip(folder(name)).map(|(number, wnid)| Command::Move(number, wnid))
        }
        _ => None,
    };
    command.ok_or_else(|| line.unexpected(EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#!/bin/bash\n\n# classes\nmkdir -p n00000007\t\nmkdir n00000008/\r\n";

    #[test]
    fn moves_are_read_and_not_run() {
        let text = format!(
            "{HEAD}mv ILSVRC2012_val_00000293.JPEG n00000008/\t\n\
             mv ILSVRC2012_val_00000001.JPEG n00000007"
        );
        let wnid = |number| Wnid::new(number).unwrap();
        assert_eq!(parse(&text).unwrap(), BTreeMap::from([(293, wnid(8)), (1, wnid(7))]));
    }

    #[test]
    fn every_other_line_is_refused() {
        for bad in [
            "cd val",
            "rm -rf n00000007",
            "mkdir -p ../n00000007",
            "mkdir -p n00000007 n00000008",
            "mkdir -p n00000007; mv ILSVRC2012_val_00000001.JPEG n00000007/",
            "mv ILSVRC2012_val_00000001.JPEG n00000007/ && true",
            "mv ILSVRC2012_val_00000001.JPEG n00000007//",
            "mv ILSVRC2012_val_00000001.JPEG $(id)",
            "mv ILSVRC2012_val_0000000*.JPEG n00000007/",
            "mv -f ILSVRC2012_val_00000001.JPEG n00000007/",
            "mv ILSVRC2010_val_00000001.JPEG n00000007/",
            "mv ILSVRC2012_val_00000001.png n00000007/",
            "mv val/ILSVRC2012_val_00000001.JPEG n00000007/",
        ] {
            let fault = parse(&format!("{HEAD}{bad}\n")).unwrap_err();
            assert!(fault.reason.contains("line 6") && fault.reason.contains("expected"), "{bad}");
            assert_eq!(fault.offset as usize, HEAD.len());
        }
    }

    #[test]
    fn an_image_is_moved_once_into_a_folder_that_is_there() {
        let one = "mv ILSVRC2012_val_00000001.JPEG n00000007/\n";
        let twice = parse(&format!("{HEAD}{one}{one}")).unwrap_err();
        assert!(twice.reason.contains("line 7: ILSVRC2012_val_00000001.JPEG a second time"));
        let unmade = parse(one).unwrap_err();
        assert!(unmade.reason.contains("line 1: folder n00000007 was not made before"));
    }
}
