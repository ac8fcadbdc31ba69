//! What is wrong with a template, as a diagnostic: at its place in the user's file, with a hint.

use std::sync::Arc;

use minijinja::{ErrorKind, Value};

use super::engine::FILTERS;
use super::scope::{Scope, TOUCHED};
use crate::diag::{Diagnostic, Origin, Source};
use crate::name::nearest;

/// A problem of minijinja's as one of ours, at the place in the user's file.
pub(super) fn problem(error: &minijinja::Error, text: &str, origin: &Origin, scope: Option<&Scope>) -> Diagnostic {
    let range = error.range().filter(|range| range.end <= text.len());
    let meant = range.clone().and_then(|range| text.get(range)).unwrap_or_default();
    let start = range.map_or_else(|| line_start(text, error.line()), |range| range.start);
    if error.kind() == ErrorKind::UndefinedError && !meant.is_empty() {
        return undefined(meant, text, start, origin, scope);
    }
    // In a comparison the engine names what is undefined, but not where.
    let named = error
        .detail()
        .filter(|_| error.kind() == ErrorKind::UndefinedError)
        .and_then(|detail| detail.split('`').nth(1));
    if let Some((name, start)) = named.and_then(|name| Some((name, text.find(name)?))) {
        return undefined(name, text, start, origin, scope);
    }
    // The engine shows values in its words, such as a text that is no number.
    let what = match error.detail().filter(|_| !TOUCHED.get().is_secret()) {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let open = what.contains("unexpected end of input");
    let hint = open.then(|| {
        "close each `{{` with `}}`, each `{% if %}` with `{% endif %}`, each `{% for %}` with `{% endfor %}`".to_owned()
    });
    let hint = hint.or_else(|| unknown_word(error));
    Diagnostic::error(what).at(&locate(text, start, origin)).wide(meant.trim().chars().count()).maybe_hint(hint)
}

/// For a filter or test that does not exist: where those are listed that do.
fn unknown_word(error: &minijinja::Error) -> Option<String> {
    let (what, known) = match error.kind() {
        ErrorKind::UnknownFilter => ("filter", "filters"),
        ErrorKind::UnknownTest => ("test", "tests"),
        ErrorKind::UnknownFunction => ("function", "functions"),
        _ => return None,
    };
    let typed = error.detail()?.strip_prefix(what)?.split_whitespace().next()?.trim_matches('`').to_owned();
    let near = if what == "filter" { nearest(&typed, FILTERS.iter().copied()) } else { Vec::new() };
    Some(match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the {known} are those of https://docs.rs/minijinja/latest/minijinja/{known}/"),
    })
}

/// That a name is not defined.
pub(super) fn undefined(meant: &str, text: &str, start: usize, origin: &Origin, scope: Option<&Scope>) -> Diagnostic {
    let meant = meant.trim();
    let first = meant.split(['.', '[', ' ', '|']).next().unwrap_or_default();
    Diagnostic::error(format!("`{meant}` is not defined"))
        .at(&locate(text, start, origin))
        .wide(meant.chars().count())
        .maybe_hint(scope.and_then(|scope| undefined_hint(first, scope).or_else(|| attribute_hint(meant, scope))))
}

/// For `host.nmae`: what `host` has.
fn attribute_hint(meant: &str, scope: &Scope) -> Option<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut value: Option<Value> = None;
    for part in meant.split('.') {
        let next = match &value {
            None => scope.open(part).cloned(),
            Some(map) => map.get_attr(part).ok().filter(|value| !value.is_undefined()),
        };
        let Some(next) = next else { break };
        path.push(part);
        value = Some(next);
    }
    let keys: Vec<String> =
        value?.try_iter().ok()?.filter_map(|key| Some(format!("{}.{}", path.join("."), key.as_str()?))).collect();
    crate::name::did_you_mean(meant, keys.iter().map(String::as_str))
}

/// What Ansible calls a thing that expressions have under another name.
fn foreign(name: &str) -> Option<&'static str> {
    Some(match name {
        "inventory_hostname" | "inventory_hostname_short" => "the host's name is `host.name`",
        "ansible_host" => "the host's address is `host.address`",
        "ansible_hostname" | "ansible_fqdn" | "ansible_nodename" => {
            "the name that the host has set is `facts.hostname`"
        }
        "ansible_memtotal_mb" => "the memory is `facts.memory`, see `armilla facts`",
        "groups" | "play_hosts" | "ansible_play_hosts" => {
            "the hosts of the service are `service.hosts`, those of a service it needs `needs.NAME.hosts`"
        }
        "hostvars" => "values of other services are in `needs.NAME.KEY`, from `provides` of their role",
        "group_names" => "a role cannot read groups: set an input in `group_vars/`",
        "lookup" | "query" => {
            "lookups on this machine are not supported: put the value into `group_vars/` or pass it with --var"
        }
        _ if name.starts_with("ansible_") => "the facts of a host are under `facts`, see `armilla facts`",
        _ => return None,
    })
}

fn undefined_hint(name: &str, scope: &Scope) -> Option<String> {
    let names: Vec<&str> = scope.names().collect();
    if names.contains(&name) {
        return None;
    }
    if let Some(hint) = foreign(name) {
        return Some(hint.to_owned());
    }
    let near = nearest(name, names.iter().copied());
    Some(match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("defined here: {}", names.join(", ")),
    })
}

fn line_start(text: &str, line: Option<usize>) -> usize {
    let line = line.unwrap_or(1).saturating_sub(1);
    text.split_inclusive('\n').take(line).map(str::len).sum()
}

/// Where a byte of a template is in the file. A template file is found as it is; a text in YAML is found again in its
/// line or, for a block of lines, in the lines below.
pub(super) fn locate(text: &str, byte: usize, origin: &Origin) -> Origin {
    let before = text.get(..byte).unwrap_or_default();
    let in_line = before.rsplit('\n').next().unwrap_or_default();
    let row = text.get(byte - in_line.len()..).unwrap_or_default().lines().next().unwrap_or_default().trim_end();
    let first = usize::try_from(origin.line).unwrap_or(1);
    let down = before.matches('\n').count();
    // The line it should be in, then those below (a block's first line is after the `|`).
    for number in [first + down, first + down + 1] {
        let Some(line) = origin.source.line(u32::try_from(number).unwrap_or(1)) else { continue };
        let skip = if number == first { usize::try_from(origin.column).unwrap_or(1) - 1 } else { 0 };
        let rest: String = line.chars().skip(skip).collect();
        if let Some(at) = rest.find(row) {
            let column = skip + rest[..at].chars().count() + in_line.chars().count() + 1;
            return place(&origin.source, number, column);
        }
    }
    origin.clone()
}

fn place(source: &Arc<Source>, line: usize, column: usize) -> Origin {
    let number = |n: usize| u32::try_from(n).unwrap_or(1);
    Origin { source: Arc::clone(source), line: number(line), column: number(column) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Diagnostics;
    use crate::secret::Secrecy;
    use crate::template::{Recipe, Rendered};

    fn render(yaml: &str) -> Result<Rendered, Diagnostics> {
        let mut provided = Scope::default();
        provided.set_as("password", Value::from("hunter2"), Secrecy::Secret);
        let mut scope = Scope::default();
        scope.set("port", Value::from(2181));
        scope.set_as("token", Value::from("hunter2"), Secrecy::Secret);
        scope.set("db", provided.to_value());
        Recipe::parse(&crate::yaml::parse(&Source::new("role.yml", yaml))?)?.render(&scope)
    }

    #[test]
    fn an_error_about_a_secret_does_not_show_it() {
        for text in ["token | int", "token + 1", "token | round", "db.password.nothing.more"] {
            for yaml in [format!("\"{{{{ {text} }}}}\""), format!("\"a {{{{ {text} }}}}\"")] {
                let problems = render(&yaml).expect_err(text).to_string();
                assert!(!problems.contains("hunter2"), "{problems}");
            }
        }
    }

    #[test]
    fn an_undefined_name_is_shown_where_it_is_written() {
        let problems = render("a: x\nb: \"at {{ prot }}\"\n").expect_err("undefined");
        assert_eq!(
            problems.to_string(),
            "error: `prot` is not defined\n  --> role.yml:2:11\n   |\n 2 | b: \"at {{ prot }}\"\n   |           ^^^^\nhint: did you mean `port`?"
        );
        let block = render("a: |\n  one\n  {{ prot }}\n").expect_err("undefined");
        assert_eq!(
            block.iter().next().and_then(|d| d.origin.as_ref()).map(ToString::to_string).as_deref(),
            Some("role.yml:3:6")
        );
    }
}
