//! In what two specs differ.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

/// Keys that are named at most.
const N_NAMED: usize = 5;

/// The keys in which the specs differ, with both values: "`plan.n_epochs` is 5 there and 7 here".
pub(super) fn difference(there: &str, here: &str) -> String {
    let (there, here) = (values(there), values(here));
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let differing: Vec<_> =
        keys.into_iter().filter(|key| there.get(*key) != here.get(*key)).collect();
    let value = |of: Option<&String>| of.map_or("missing".to_owned(), Clone::clone);
    let words = |key: &&String| {
        format!("`{key}` is {} there and {} here", value(there.get(*key)), value(here.get(*key)))
    };
    let named: Vec<String> = differing.iter().take(N_NAMED).map(words).collect();
    let more = differing.len().saturating_sub(N_NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    named.join(", ") + &more
}

/// The seeds of `there`, if `here` asks for more of them, and for nothing else.
pub(super) fn fewer_seeds(there: &str, here: &str) -> Option<u64> {
    let (mut there, mut here) = (values(there), values(here));
    let n_seeds = |spec: &mut BTreeMap<String, String>| spec.remove("seeds")?.parse::<u64>().ok();
    let (before, now) = (n_seeds(&mut there)?, n_seeds(&mut here)?);
    (before < now && there == here).then_some(before)
}

/// Every value by its path, such as `training[0].plan.n_epochs`.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        table.iter().for_each(|(key, value)| collect(key, value, &mut values));
    }
    values
}

fn collect(path: &str, value: &Value, values: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| collect(&format!("{path}.{key}"), value, values));
        }
        Value::Array(list) if list.iter().any(Value::is_table) => {
            let items = list.iter().enumerate();
            items.for_each(|(i, value)| collect(&format!("{path}[{i}]"), value, values));
        }
        other => drop(values.insert(path.into(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_seeds_of_the_same_are_told_from_another_run() {
        let of =
            |seeds: u64, n_epochs: u64| format!("seeds = {seeds}\n[plan]\nn_epochs = {n_epochs}");
        assert_eq!(fewer_seeds(&of(1, 5), &of(3, 5)), Some(1));
        assert_eq!(fewer_seeds(&of(3, 5), &of(1, 5)), None);
        assert_eq!(fewer_seeds(&of(3, 5), &of(3, 5)), None);
        assert_eq!(fewer_seeds(&of(1, 5), &of(3, 6)), None);
        assert_eq!(fewer_seeds("suite = 'a'", &of(3, 5)), None);
    }

    #[test]
    fn keys_are_named_with_both_values() {
        let there = "seeds = 1\n[[training]]\nname = 'a'\nplan = { n_epochs = 5, batch_size = 4 }";
        let here = "seeds = 1\nholdout = 3\n[[training]]\nname = 'a'\nplan = { n_epochs = 7, batch_size = 4 }";
        assert_eq!(
            difference(there, here),
            "`holdout` is missing there and 3 here, `training[0].plan.n_epochs` is 5 there and 7 here"
        );
    }

    #[test]
    fn a_few_keys_stand_for_many() {
        let here: String = (0..9).map(|i| format!("k{i} = 1\n")).collect();
        assert!(difference("", &here).ends_with("`k4` is missing there and 1 here, and 4 more"));
    }
}
