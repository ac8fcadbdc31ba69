//! `tags`, wherever they may stand.
//!
//! In: a node: a list of words, or words with commas between as Ansible allows them. Out: tags. Never: a tag that means
//! something else where tags are chosen.

use std::collections::BTreeSet;

use super::{Node, Table};
use crate::diag::{Diagnostic, Diagnostics};
use crate::name::Tag;

/// What `--tags` and `--skip-tags` take for more than a tag.
const WORDS: &[&str] = &["all", "tagged", "untagged"];

/// Reads tags.
pub fn tags(node: Option<&Node>, problems: &mut Diagnostics) -> BTreeSet<Tag> {
    let Some(node) = node else { return BTreeSet::new() };
    let items = node.list().unwrap_or(std::slice::from_ref(node));
    items.iter().flat_map(|item| words(item, problems)).collect()
}

impl Table<'_> {
    /// The tags under the key `tags`. Empty if it is not there.
    pub fn tags(&self, problems: &mut Diagnostics) -> BTreeSet<Tag> {
        tags(self.get("tags"), problems)
    }
}

fn words(node: &Node, problems: &mut Diagnostics) -> Vec<Tag> {
    let Some(text) = node.text() else {
        let problem = Diagnostic::error(format!("`tags` is a list of words, not {}", node.kind())).at(&node.origin);
        problems.push(problem.hint("for example: tags: [config, nightly]"));
        return Vec::new();
    };
    let read = |word: &str| match Tag::new(word) {
        Ok(_) if WORDS.contains(&word) => {
            let problem = Diagnostic::error(format!("invalid tag `{word}`: `--tags {word}` has a meaning of its own"));
            Err(problem.hint("give it another name"))
        }
        Ok(tag) => Ok(tag),
        Err(why) => Err(Diagnostic::from(why)),
    };
    let each = text.split(',').map(|word| read(word.trim()));
    each.filter_map(|tag| tag.map_err(|why| problems.push(why.at(&node.origin))).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn read(text: &str) -> Result<Vec<String>, Diagnostics> {
        let node = crate::yaml::parse(&Source::new("role.yml", text))?;
        let mut problems = Diagnostics::new();
        let tags = tags(Some(&node), &mut problems);
        problems.result(tags.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tags_are_a_list_or_words_with_commas() {
        assert_eq!(read("[b, a, b]").expect("tags"), ["a", "b"]);
        assert_eq!(read("b, a").expect("tags"), ["a", "b"]);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for (text, part) in
            [("[a b]", "invalid tag"), ("[all]", "meaning of its own"), ("[[a]]", "not a list"), ("[3]", "")]
        {
            let problems = read(text).expect_err(text).to_string();
            assert!(problems.contains(part), "{text}: {problems}");
        }
    }
}
