//! What cannot be a program, an argument or a variable.

use super::Command;

impl Command {
    /// Why it cannot be run on any host, before it is tried.
    pub fn fault(&self) -> Option<String> {
        let program = self.argv.first().map_or("", String::as_str);
        if program.is_empty() || program.starts_with('-') {
            return Some(format!("invalid program `{}`", program.escape_debug()));
        }
        if let Some(name) = self.environment.keys().find(|name| !is_variable(name)) {
            return Some(format!("invalid environment variable name `{}`", name.escape_debug()));
        }
        if self.user.as_deref().is_some_and(|user| !is_account(user)) {
            return Some("the user to run it as is no user name".to_owned());
        }
        if self.directory.as_deref().is_some_and(|path| !path.starts_with('/')) {
            return Some("the directory to run it in is not absolute".to_owned());
        }
        let mut texts = self.argv.iter().chain(self.environment.values()).chain(&self.directory);
        texts.any(|text| text.contains('\0')).then(|| "a NUL cannot be part of a path, name or argument".to_owned())
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can be the name of a user or group: what `passwd(5)` cannot hold, and options, cannot.
pub fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.contains([':', '/', '\0', '\n', ' ', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_can_run_is_known_before() {
        let run = |argv: &[&str]| Command::new(argv.iter().copied());
        let faulty = [
            (run(&[]), "invalid program ``"),
            (run(&["-x"]), "invalid program `-x`"),
            (run(&["a", "b\0"]), "a NUL cannot be part"),
            (run(&["a"]).with("A=B", "c"), "invalid environment variable name `A=B`"),
            (run(&["a"]).with("A", "\0"), "a NUL cannot be part"),
            (Command { user: Some("-x".to_owned()), ..run(&["a"]) }, "no user name"),
            (Command { directory: Some("tmp".to_owned()), ..run(&["a"]) }, "not absolute"),
        ];
        for (command, why) in faulty {
            assert!(command.fault().is_some_and(|fault| fault.contains(why)), "{command:?}");
        }
        assert_eq!(run(&["a=b", "-x", "\n"]).with("A", "b").fault(), None);
    }
}
