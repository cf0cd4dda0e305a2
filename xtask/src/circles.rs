//! Files of a crate that import each other in a circle: neither can be understood, tested or moved
//! without the other.
//!
//! Key decision: what a file imports is told from its paths (`crate::a::B`, `super::B`, `use child::B`),
//! without a compiler. A name that a module only hands on (`pub use`) leads to the file that defines it,
//! and to hand on is not to import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::lines::n_code_lines;

/// A module, as the names that lead to it from the crate's root.
type Module = Vec<String>;

/// The circles of the crate whose sources are in `folder`, each as the names of its files.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn of_crate(folder: &Path) -> Result<Vec<Vec<String>>> {
    let mut sources = BTreeMap::new();
    read(folder, &[], &mut sources)?;
    let files = sources.into_iter().map(|(module, text)| (module, File::of(&text)));
    Ok(Crate(files.collect()).circles())
}

/// Adds the text of the files below `folder`, by module; tests are left out.
fn read(folder: &Path, module: &[String], sources: &mut BTreeMap<Module, String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Failure::io(folder, "list"))? {
        let path = entry.map_err(Failure::io(folder, "list"))?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let own = match name.as_str() {
            "lib" | "main" | "mod" => module.to_vec(),
            _ => [module, std::slice::from_ref(&name)].concat(),
        };
        if path.is_dir() {
            read(&path, &own, sources)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !name.ends_with("tests") {
            let text = fs::read_to_string(&path).map_err(Failure::io(&path, "read"))?;
            let lines = text.lines().take(n_code_lines(&text));
            let code = lines.map(|line| line.split("//").next().unwrap_or_default());
            sources.insert(own, code.collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(())
}

/// What a file says of others.
struct File {
    /// Paths in its code.
    imports: Vec<Module>,
    /// Paths that it hands on.
    hands_on: Vec<Module>,
}

impl File {
    fn of(code: &str) -> Self {
        let tokens = tokens(code);
        let mut file = Self { imports: Vec::new(), hands_on: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            let is_use = tokens[at] == "use";
            let begins = matches!(tokens[at].as_str(), "crate" | "super" | "self")
                && tokens.get(at + 1).is_some_and(|next| next == "::");
            if !is_use && !begins {
                at += 1;
                continue;
            }
            let is_public = is_use && at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
            at += usize::from(is_use);
            let paths = if is_public { &mut file.hands_on } else { &mut file.imports };
            tree(&tokens, &mut at, &[], paths);
        }
        file
    }
}

/// Names, `::` and single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in code.chars() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(token) if is_name(c) && is_name(last) => token.push(c),
            Some(token) if c == ':' && token == ":" && last == ':' => token.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.into()),
        }
        last = c;
    }
    tokens
}

/// Reads a path, or a tree of them in braces, that begins at `at`.
fn tree(tokens: &[String], at: &mut usize, prefix: &[String], paths: &mut Vec<Module>) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        if token == "{" {
            while tokens.get(*at).is_some_and(|token| token != "}") {
                tree(tokens, at, &path, paths);
                *at += usize::from(tokens.get(*at).is_some_and(|token| token == ","));
            }
            *at += 1;
            return;
        }
        path.push(token.clone());
        if tokens.get(*at).is_none_or(|token| token != "::") {
            break;
        }
        *at += 1;
    }
    if tokens.get(*at).is_some_and(|token| token == "as") {
        *at += 2;
    }
    paths.push(path);
}

struct Crate(BTreeMap<Module, File>);

impl Crate {
    /// The module in which `path`, as written in `module`, ends.
    fn find(&self, module: &[String], path: &[String], depth: usize) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (module.to_vec(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            _ if self.0.contains_key(&[module, &path[..1]].concat()) => (module.to_vec(), path),
            _ => return None,
        };
        while let Some((name, left)) = rest.split_first() {
            let inner = [&at[..], std::slice::from_ref(name)].concat();
            match name.as_str() {
                "super" => drop(at.pop()),
                _ if self.0.contains_key(&inner) => at = inner,
                _ => break,
            }
            rest = left;
        }
        let (Some(item), true) = (rest.first(), depth < 8) else { return Some(at) };
        let handed = self.0[&at].hands_on.iter().find(|path| path.last() == Some(item));
        match handed.and_then(|path| self.find(&at, path, depth + 1)) {
            Some(defined) => Some(defined),
            None => Some(at),
        }
    }

    /// The modules that `module` imports, and those that these import.
    fn reached(&self, module: &Module) -> BTreeSet<Module> {
        let (mut reached, mut left) = (BTreeSet::new(), vec![module.clone()]);
        while let Some(module) = left.pop() {
            let paths = self.0[&module].imports.iter();
            for other in paths.filter_map(|path| self.find(&module, path, 0)) {
                if other != module && reached.insert(other.clone()) {
                    left.push(other);
                }
            }
        }
        reached
    }

    fn circles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<_, _> = self.0.keys().map(|m| (m, self.reached(m))).collect();
        let circle = |module: &Module| -> BTreeSet<Module> {
            let back = |other: &&Module| reached[*other].contains(module);
            reached[module].iter().filter(back).cloned().collect()
        };
        let circles: BTreeSet<_> = self.0.keys().map(circle).filter(|c| c.len() > 1).collect();
        let name = |module: Module| match module.is_empty() {
            true => "the crate's root".to_owned(),
            false => module.join("::"),
        };
        circles.into_iter().map(|circle| circle.into_iter().map(name).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module =
            |name: &str| name.split("::").filter(|n| !n.is_empty()).map(Into::into).collect();
        let files = files.iter().map(|(name, code)| (module(name), File::of(code)));
        Crate(files.collect()).circles()
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let found = circles(&[
            ("", "mod a; mod b; mod c; pub use a::A;"),
            ("a", "use crate::b::{B, other::Thing}; pub struct A;"),
            ("b", "use super::A; use std::fmt; pub struct B;"),
            ("c", "use crate::A;"),
        ]);
        assert_eq!(found, [["a", "b"]]);
    }

    #[test]
    fn to_hand_on_is_not_to_import_and_a_name_leads_to_where_it_is_defined() {
        let found = circles(&[
            ("", "mod ops;"),
            ("ops", "mod conv; mod step; pub use conv::Conv; pub(crate) use self::step::Step;"),
            ("ops::conv", "use crate::ops::Step; pub struct Conv;"),
            ("ops::step", "pub struct Step;"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn paths_in_code_count_and_those_of_other_crates_do_not() {
        let found = circles(&[
            ("", ""),
            ("a", "fn f() { crate::b::g(1); serde::Value::from(2); }"),
            ("b", "fn g() -> crate::a::T { super::a::f() }"),
        ]);
        assert_eq!(found, [["a", "b"]]);
    }
}
