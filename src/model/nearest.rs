//! "Did you mean": the name that is nearest to a word that names nothing.

/// Edits at most, so that what is found is a slip of the fingers and no other name.
const MAX_EDITS: usize = 3;

/// The nearest of `names` to `word`, where one is near: an edit for each four letters, one for shorter words, and
/// [`MAX_EDITS`] at most. Case does not count. Of several as near, the first in the order of names.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    let edits = (folded.chars().count() / 4).clamp(1, MAX_EDITS);
    let near = names.into_iter().filter(|name| !name.is_empty() && *name != word);
    let near = near.map(|name| (strsim::damerau_levenshtein(&name.to_lowercase(), &folded), name));
    near.filter(|(distance, _)| *distance <= edits).min().map(|(_, name)| name)
}

/// `; did you mean NAME?`, or nothing where no name is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_has_a_suggestion_and_another_word_has_none() {
        let regions = ["us-east-1", "us-west-2", "eu-central-1"];
        for (word, expected) in [
            ("us-est-1", Some("us-east-1")),
            ("us-west2", Some("us-west-2")),
            ("US-WEST-2", Some("us-west-2")),
            ("us-east-2", Some("us-east-1")),
            ("ap-south-1", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, regions), expected, "{word}");
        }
        assert_eq!(nearest("us-east-1", ["us-east-1"]), None, "the very name is no suggestion");
        assert_eq!(nearest("pay", ["pax", "play", "orders"]), Some("pax"), "the first of those as near");
        assert_eq!(nearest("pod", ["node"]), None);
        assert_eq!(did_you_mean("clustr-1", ["cluster-2", "cluster-1"]), "; did you mean cluster-1?");
        assert_eq!(did_you_mean("x", ["cluster-1"]), "");
    }
}
