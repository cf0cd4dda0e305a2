//! A class of the data, by its label or its name.

use std::convert::Infallible;
use std::str::FromStr;

use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::classes;

/// A class of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a class: its label, or its name")]
pub enum Class {
    /// Its label.
    Label(u32),
    /// Its name.
    Name(String),
}

impl FromStr for Class {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Label))
    }
}

impl Class {
    /// Its label among the classes `names`.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is none of them.
    pub(crate) fn label(&self, names: &[String]) -> Result<u32> {
        let name = match self {
            Self::Label(label) => return Ok(*label),
            Self::Name(name) => name,
        };
        classes::label(name, names).ok_or_else(|| {
            let known = match names.is_empty() {
                true => "the data does not name its classes; give the label".to_owned(),
                false => format!("none of the classes {}", classes::list(names)),
            };
            Error::config("omit_class", format!("`{name}`: {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_by_label_and_name() {
        let names = ["tench", "Sea_Lion", "3"].map(str::to_owned);
        let label = |text: &str, names: &[String]| text.parse::<Class>().unwrap().label(names);
        for (text, want) in [("0", 0), ("tench", 0), ("sea lion", 1), ("n01440764", 0), ("3", 3)] {
            assert_eq!(label(text, &names).unwrap(), want, "{text}");
        }
        assert_eq!(Class::Name("3".into()).label(&names).unwrap(), 2);
        let error = label("seal", &names).unwrap_err().to_string();
        assert!(error.contains("`seal`: none of the classes tench, Sea_Lion, 3"), "{error}");
        assert!(label("seal", &[]).unwrap_err().to_string().contains("give the label"));
    }
}
