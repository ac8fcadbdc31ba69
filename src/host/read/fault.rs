//! Why a probe cannot be asked at all.

use crate::step::{HttpRequest, Probe, Trust, home_of, is_account};

const NUL: &str = "it contains a NUL byte";

/// What is wrong with a probe: an invalid name, or one that a program would take for an option.
pub(super) fn fault(probe: &Probe) -> Option<String> {
    let wrong = |what: &str, name: &str| Some(format!("invalid {what} `{}`", name.escape_debug()));
    match probe {
        Probe::Path { path, .. } if path.contains('\0') => Some(NUL.to_owned()),
        Probe::Path { path, .. } if home_of(path).is_some_and(|(user, _)| is_account(user)) => None,
        Probe::Path { path, .. } if !path.starts_with('/') => wrong("absolute path", path),
        Probe::Package(name) | Probe::Removal(name) if !is_word(name, "+.:~") => wrong("name of a package", name),
        Probe::User(name) | Probe::Membership(name) | Probe::AccountUse(name) | Probe::Group(name)
            if !is_account(name) =>
        {
            wrong("name of a user or group", name)
        }
        Probe::Unit(name) if !is_unit(name) => wrong("name of a unit, such as `ssh.service`", name),
        Probe::Command(command) => command.fault(),
        Probe::Port { address, .. } if !is_word(address, ":.%") => wrong("address", address),
        Probe::Http(request) if !is_url(&request.url) => wrong("http:// or https:// address", &request.url),
        Probe::Http(
            HttpRequest { trust: Trust::Authority(file), .. } | HttpRequest { header_file: Some(file), .. },
        ) if !is_absolute(file) => wrong("absolute path", file),
        _ => None,
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || more.contains(c))
}

fn is_unit(name: &str) -> bool {
    let whole = |(stem, suffix): (&str, &str)| !stem.is_empty() && !stem.ends_with('@') && !suffix.is_empty();
    is_word(name, ":.@\\") && name.rsplit_once('.').is_some_and(whole)
}

fn is_url(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(|c: char| c.is_control() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Command, Fetch};

    #[test]
    fn no_name_can_be_an_option_or_a_pattern() {
        let word = |name: &str| name.to_owned();
        let path = |path: &str| Probe::Path { path: path.to_owned(), content: Fetch::Digest };
        let wrong = [
            Probe::User(word("-x")),
            Probe::User(word("a:b")),
            Probe::Membership(word("")),
            Probe::Group(word("a b")),
            Probe::AccountUse(word("-x")),
            Probe::AccountUse(word("../../etc/x")),
            Probe::Removal(word("--force-all")),
            Probe::Package(word("*")),
            Probe::Package(word("--admindir=/x")),
            Probe::Unit(word("ssh")),
            Probe::Unit(word("a@.service")),
            Probe::Unit(word("*.service")),
            path("relative"),
            path("/nul\0"),
            path("~-x/y"),
            path("~/x"),
            Probe::port("-z", 1),
            Probe::port("a b", 1),
            Probe::Http(HttpRequest::get("file:///etc/passwd")),
            Probe::Http(HttpRequest::get("http://a/\n-o")),
            Probe::Command(Command::new(Vec::<String>::new())),
            Probe::Command(Command::new(["-x"])),
            Probe::Command(Command::new(["a", "b\0"])),
            Probe::Command(Command::new(["a"]).with("A=B", "c")),
        ];
        for probe in wrong {
            assert!(fault(&probe).is_some(), "{probe:?}");
        }
        let fine = [
            path("/a b\n-c"),
            path("~ada/x"),
            Probe::Package(word("g++:amd64")),
            Probe::Unit(word("a@b\\x2d.service")),
            Probe::port("fe80::1%eth0", 1),
            Probe::Command(Command::new(["a=b"]).with("A", "b")),
        ];
        for probe in fine {
            assert_eq!(fault(&probe), None, "{probe:?}");
        }
    }
}
