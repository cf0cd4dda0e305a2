//! Words on the command line that stand for values.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Reads a word that stands for a value.
pub(crate) fn words<T: Clone + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |word| {
        let named = words.iter().find(|(other, _)| *other == word);
        named.map(|(_, value)| value.clone()).ok_or("no such word")
    })
}

/// Reads one of `words`, which stand for a value as in a suite file.
pub(crate) fn one_of<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    words: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words)
        .try_map(|word| T::deserialize(word.into_deserializer()).map_err(|e: Error| e))
}
