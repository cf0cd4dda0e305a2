//! Words on the command line that stand for values.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Reads a word that stands for a value.
pub(crate) fn words<T: Clone + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |word| {
        let named = words.iter().find(|(other, _)| *other == word);
        named.map(|(_, value)| value.clone()).ok_or("no such word")
    })
}
