//! Texts about several hosts that say the same, but for the host that they name.

use crate::name::HostName;

/// What stands for the name or address of a host in a text about several.
const HOST: &str = "HOST";

/// A text about some hosts.
pub(super) struct Alike<'a, K> {
    /// What else must be the same.
    pub(super) key: K,
    /// As it was said of the first host; with [`HOST`] in it where it was said of the others in another way.
    pub(super) text: String,
    pub(super) hosts: Vec<&'a HostName>,
    /// With [`HOST`] in it.
    general: String,
}

/// Takes note of a text about one host, with its address, if that is known.
pub(super) fn note<'a, K: PartialEq>(
    all: &mut Vec<Alike<'a, K>>,
    key: K,
    text: String,
    (host, address): (&'a HostName, Option<&str>),
) {
    let general = address.into_iter().chain([host.as_str()]).fold(text.clone(), |text, name| without(&text, name));
    match all.iter_mut().find(|known| known.key == key && known.general == general) {
        Some(known) => {
            known.hosts.push(host);
            if known.text != text {
                known.text = general;
            }
        }
        None => all.push(Alike { key, text, hosts: vec![host], general }),
    }
}

/// The text with a name replaced where it stands by itself.
fn without(text: &str, name: &str) -> String {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let alone = !part(before.chars().last().or_else(|| done.chars().last())) && !part(after.chars().next());
        done.push_str(before);
        done.push_str(if alone { HOST } else { name });
        rest = after;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<HostName> {
        names.iter().map(|name| HostName::new(name).expect("a name")).collect()
    }

    #[test]
    fn what_differs_only_in_the_host_is_said_once() {
        let hosts = hosts(&["w1", "w2", "w11"]);
        let mut all = Vec::new();
        for (host, address) in hosts.iter().zip(["10.0.0.1", "10.0.0.2", "10.0.0.11"]) {
            note(&mut all, (), format!("http://{address}:80/ of {host} answered 500"), (host, Some(address)));
        }
        let [one] = all.as_slice() else { panic!("{}", all.len()) };
        assert_eq!((one.text.as_str(), one.hosts.len()), ("http://HOST:80/ of HOST answered 500", 3));
        note(&mut all, (), "w1 is well".to_owned(), (&hosts[0], None));
        note(&mut all, (), "w1 is well".to_owned(), (&hosts[1], None));
        assert_eq!(all.len(), 3, "what names another host says something else");
    }

    #[test]
    fn what_was_said_of_all_in_the_same_way_stays_as_it_is() {
        let hosts = hosts(&["a", "b"]);
        let mut all = Vec::new();
        for host in &hosts {
            note(&mut all, "web", "port 80 is closed".to_owned(), (host, Some("10.0.0.8")));
        }
        note(&mut all, "db", "port 80 is closed".to_owned(), (&hosts[0], None));
        let texts: Vec<(&str, &str, usize)> =
            all.iter().map(|one| (one.key, one.text.as_str(), one.hosts.len())).collect();
        assert_eq!(texts, [("web", "port 80 is closed", 2), ("db", "port 80 is closed", 1)]);
    }

    #[test]
    fn a_name_inside_of_a_word_is_none() {
        assert_eq!(without("a bad-a a.example.org aa a", "a"), "HOST bad-a HOST.example.org aa HOST");
        assert_eq!(without("10.0.0.11 10.0.0.1:80", "10.0.0.1"), "10.0.0.11 HOST:80");
        assert_eq!(without("aaa", "aa"), "aaa");
    }
}
