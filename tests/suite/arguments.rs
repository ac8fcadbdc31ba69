//! How many arguments the functions of `src/` take: clippy counts a tuple as one, this counts what is in it.
//!
//! A tuple hides arguments from clippy's bound without giving them names; a struct gives them names.

use crate::imports;

/// As `too-many-arguments-threshold` in `clippy.toml`.
const MOST: usize = 5;

/// A function with its number of arguments.
#[derive(Debug, PartialEq)]
struct Signature {
    line: usize,
    name: String,
    arguments: usize,
}

#[test]
fn no_function_takes_more_than_five_arguments() {
    let mut wrong = Vec::new();
    for file in imports::files().into_values() {
        for Signature { line, name, arguments } in signatures(&file.code).into_iter().filter(|it| it.arguments > MOST) {
            wrong.push(format!("src/{}:{line}: `{name}` takes {arguments} arguments", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "at most {MOST}, tuples counted by what is in them:\n{}", wrong.join("\n"));
}

/// Every function with a name in a text without comments.
fn signatures(code: &str) -> Vec<Signature> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let begins = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &code[at + "fn ".len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let after = generics(&rest[name.len()..]);
        let Some(list) = after.strip_prefix('(').filter(|_| begins && !name.is_empty()) else { continue };
        let line = code[..at].matches('\n').count() + 1;
        found.push(Signature { line, name, arguments: arguments(list) });
    }
    found
}

/// What follows `<..>`, if the text begins with it.
fn generics(text: &str) -> &str {
    match text.strip_prefix('<') {
        Some(inner) => inner.get(inside(inner).len() + 1..).unwrap_or_default(),
        None => text,
    }
}

/// The text up to the bracket that closes one before it.
fn inside(text: &str) -> &str {
    let (mut depth, mut before) = (0_usize, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if matches!(before, '-' | '=') => {}
            ')' | ']' | '}' | '>' if depth == 0 => return &text[..at],
            ')' | ']' | '}' | '>' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    text
}

/// The parts of a list that ends with the text or a closing bracket.
fn parts(text: &str) -> Vec<&str> {
    let (mut rest, mut parts) = (inside(text), Vec::new());
    while !rest.is_empty() {
        let part = until(rest, ',');
        parts.push(part.trim());
        rest = rest.get(part.len() + 1..).unwrap_or_default();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The text before a character that is in no brackets; a `::` is no colon.
fn until(text: &str, end: char) -> &str {
    let mut skip = 0;
    for (at, c) in text.char_indices() {
        match c {
            _ if at < skip => {}
            '(' | '[' | '{' | '<' => skip = at + 2 + inside(&text[at + 1..]).len(),
            ':' if text[at..].starts_with("::") => skip = at + 2,
            c if c == end => return &text[..at],
            _ => {}
        }
    }
    text
}

/// The number of arguments in a list of them, without `self`.
fn arguments(list: &str) -> usize {
    let count = |argument: &str| {
        let pattern = until(argument, ':');
        let owner = pattern.split_whitespace().last().unwrap_or_default().trim_start_matches('&') == "self";
        if owner { 0 } else { values(argument[pattern.len()..].trim_start_matches(':')) }
    };
    parts(list).into_iter().map(count).sum()
}

/// The number of values in a type: those in a tuple, also behind a reference; else one.
fn values(kind: &str) -> usize {
    let mut kind = kind.trim();
    while let Some(rest) = kind.strip_prefix('&') {
        let mut rest = rest.trim_start();
        if rest.starts_with('\'') {
            rest = rest.trim_start_matches(|c: char| !c.is_whitespace()).trim_start();
        }
        kind = rest.strip_prefix("mut ").unwrap_or(rest).trim_start();
    }
    match kind.strip_prefix('(') {
        Some(tuple) => parts(tuple).into_iter().map(values).sum::<usize>().max(1),
        None => 1,
    }
}

#[test]
fn what_is_in_a_tuple_counts_and_what_is_in_generics_does_not() {
    for (arguments, list) in [
        (0, ""),
        (0, "&'a mut self"),
        (0, "self: Arc<Self>,"),
        (4, "a: (A, B, C), b: D"),
        (3, "&self, a: &'a mut (A, b::B), c: &C"),
        (4, "a: (A, (B, &(C, D)))"),
        (2, "(a, b): (A, B)"),
        (1, "Pair { a, b }: Pair<A, B>"),
        (2, "a: HashMap<K, (V, W)>, b: &[(A, B)]"),
        (3, "a: impl Fn((A, B), C) -> (D, E), b: &(dyn Fn(A, B) -> C + Send + Sync), c: [A; 2]"),
        (1, "a: ()"),
        (6, "mut a: A,\n    b: crate::b::B,\n    c: fn(A, B) -> C,\n    d: (D, E, F),\n"),
    ] {
        let code = format!("\nimpl X {{\n    async fn f<'a, T: Fn(A) -> (B, C)>({list}) -> (A, B) {{}}");
        assert_eq!(signatures(&code), [Signature { line: 3, name: "f".to_owned(), arguments }], "{list}");
    }
    assert_eq!(signatures("type F = fn (A, B); let often_fn = 1; struct X(fn(A));"), []);
}
