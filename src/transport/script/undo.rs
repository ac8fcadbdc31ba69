//! Keeping what is there, and putting it back.
//!
//! In: what a change touches. Out: what a step's function says, and the program that puts all of it back without us.
//! Never: a secret in its text; what is kept never leaves the host.

use std::time::Duration;

use super::command::folder;
use super::library::{Source, needed, sources};
use super::quote::{quote, write_bytes};
use crate::name::{Owner, RoleName};
use crate::step::{Snapshot, Touched, home_of};

/// How long putting back may take: packages of some size, one after the other, on a host where another `apt` is at work.
pub(super) const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// The functions of a step that keeps what is there, and its call.
pub(super) fn snapshot(index: usize, snapshot: &Snapshot) -> Result<(String, String), String> {
    let Snapshot { owner, name, touched } = snapshot;
    let lines: Vec<String> = touched.iter().map(line).collect::<Result<_, _>>()?;
    let functions = format!(
        "r{index}() {{\n{}\n}}\nl{index}() {{\n{}\n}}\n",
        write_bytes(restore().as_bytes()),
        write_bytes(lines.concat().as_bytes())
    );
    Ok((functions, format!("{} r{index} l{index}", call("snapshot", owner, name)?)))
}

/// A call with what it is about.
pub(super) fn call(function: &str, owner: &Owner, name: &str) -> Result<String, String> {
    let name = RoleName::new(name).map_err(|why| why.to_string())?;
    Ok(format!("{function} {} {}", folder(owner), quote(name.as_str())))
}

/// A line of the list. Anything that would be two lines is refused.
fn line(touched: &Touched) -> Result<String, String> {
    let (kind, name) = match touched {
        Touched::Path(path) => ("path", path),
        Touched::Unit(unit) => ("unit", unit),
        Touched::Package(package) => ("package", package),
    };
    let dotted = |path: &str| path.split('/').any(|part| part == "." || part == "..");
    let wrong = match touched {
        Touched::Path(path) => {
            !(path.starts_with('/') || home_of(path).is_some()) || path.ends_with('/') || dotted(path)
        }
        Touched::Unit(name) | Touched::Package(name) => name.is_empty() || name.starts_with('-'),
    };
    if wrong || name.contains(char::is_control) {
        return Err(format!("the {kind} `{}` cannot be saved: invalid name", name.escape_debug()));
    }
    Ok(format!("{kind} {name}\n"))
}

/// The program that puts back what is kept in its folder.
fn restore() -> String {
    static SOURCES: [Source; 5] = sources!["who.sh", "pin.sh", "home.sh", "was.sh", "restore.sh"];
    format!("#!/bin/sh\npurging={}\n{}", quote(include_str!("purge.sh")), needed(&[&SOURCES], ""))
}
