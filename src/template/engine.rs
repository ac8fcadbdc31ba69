//! The engine that compiles and renders everything: its settings, and the filters it has besides those of minijinja.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

/// More work than any template of a configuration file needs; a loop over loops ends here.
const FUEL: u64 = 20_000_000;

/// The filters that roles use most, for hints. A test looks that each exists.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "megabytes",
    "milliseconds",
    "min",
    "quote",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

pub(super) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_debug(true);
    engine.set_syntax(syntax());
    engine.add_filter("megabytes", |bytes: i64| bytes / (1024 * 1024));
    engine.add_filter("milliseconds", |seconds: f64| as_integer(seconds * 1000.0));
    engine.add_filter("quote", |text: String| format!("'{}'", text.replace('\'', "'\\''")));
    engine
}

/// As Ansible's templates: a line that holds only a `{% %}` leaves no line behind.
pub(super) fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    syntax.unwrap_or_default()
}

/// Rounded; a duration in milliseconds is far inside what an integer holds.
#[expect(clippy::cast_possible_truncation, reason = "saturates, and such durations are refused before")]
fn as_integer(number: f64) -> i64 {
    number.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Origin, Source};
    use crate::template::{Formula, Scope, Text};

    #[test]
    fn every_filter_that_is_offered_exists() {
        for filter in FILTERS {
            let problem = Formula::parse(&format!("1 | {filter}"), &Origin::start(&Source::new("x", "")))
                .and_then(|formula| formula.value(&Scope::default()));
            let unknown = problem.is_err_and(|problem| problem.what.contains("unknown filter"));
            assert!(!unknown, "{filter}");
        }
    }

    #[test]
    fn a_loop_without_end_is_stopped() {
        let text = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let rendered = Text::parse(text, &Origin::start(&Source::new("x", text))).expect("a template");
        let problem = rendered.render(&Scope::default());
        assert!(problem.is_err_and(|problem| problem.to_string().contains("fuel")), "stopped");
    }
}
