//! What is said of class folders.

/// Names that are shown of a list.
const N_SHOWN: usize = 20;

/// The names, or the first ones of many.
pub(super) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let n = names.len();
    let shown: Vec<_> = names.take(N_SHOWN).map(|name| name.escape_debug().to_string()).collect();
    let more = if n > N_SHOWN { format!(", and {} more", n - N_SHOWN) } else { String::new() };
    shown.join(", ") + &more
}

/// That there is nothing to tell apart, which the folder above that of the classes looks like.
pub(super) fn only_class(classes: &[String]) -> Option<String> {
    let [only] = classes else { return None };
    let only = only.escape_debug();
    Some(format!(
        "has one class only, `{only}`; are the class folders one level deeper, in `{only}`?"
    ))
}

/// How classes are numbered, where their names are numbers or hold some that do not sort as such:
/// `10` comes before `2`.
pub(crate) fn class_order(classes: &[String]) -> Option<String> {
    let are_numbers = classes.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let mut natural: Vec<&String> = classes.iter().collect();
    natural.sort_by_key(|name| runs(name));
    let moved = natural.iter().zip(classes).position(|(natural, class)| *natural != class);
    let shown = list(classes.iter().map(String::as_str));
    match moved {
        Some(label) => Some(format!(
            "class names sort as text, as torchvision sorts them: class {label} is `{}`, not `{}`; the \
             order is {shown} (names of equal length, such as 02 and 10, keep the order of numbers)",
            classes[label], natural[label]
        )),
        None if are_numbers => Some(format!("the order of the classes is {shown}")),
        None => None,
    }
}

/// Text and numbers by turns.
fn runs(name: &str) -> Vec<(String, u128)> {
    let mut runs = vec![(String::new(), 0_u128)];
    let mut after_digit = false;
    for c in name.chars() {
        if !c.is_ascii_digit() && after_digit {
            runs.push((String::new(), 0));
        }
        after_digit = c.is_ascii_digit();
        if let Some((text, number)) = runs.last_mut() {
            match c.to_digit(10) {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
                None => text.push(c),
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str]) -> Option<String> {
        class_order(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_trap_is_named_where_numbers_sort_as_text() {
        let trap = words(&["0", "1", "10", "11", "2", "3"]).unwrap();
        assert!(
            trap.contains("class 2 is `10`, not `2`; the order is 0, 1, 10, 11, 2, 3"),
            "{trap}"
        );
        let trap = words(&["class1", "class10", "class2"]).unwrap();
        assert!(trap.contains("class 1 is `class10`, not `class2`"), "{trap}");
    }

    #[test]
    fn other_names_are_not_spoken_of() {
        assert_eq!(words(&["0", "1", "2"]).unwrap(), "the order of the classes is 0, 1, 2");
        assert_eq!(words(&["00", "01", "10"]).unwrap(), "the order of the classes is 00, 01, 10");
        for names in
            [&["cat", "dog"][..], &["n01440764", "n10000000"], &["Cat", "ant"], &["a1", "b"]]
        {
            assert_eq!(words(names), None, "{names:?}");
        }
        let many: Vec<String> = (100..130).map(|i| i.to_string()).collect();
        assert!(class_order(&many).unwrap().ends_with("118, 119, and 10 more"));
    }
}
