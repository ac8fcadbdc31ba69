//! `json`: a value at a path of a JSON file.
//!
//! In: the way to the value, and the value. Out: the file in which only that is different. Never: another key changed.

use super::keyed::{Format, Keyed};
use crate::edit::{self, Edit};
use crate::secret::Content;

/// A value at a path of a JSON file.
pub(super) type Json = Keyed<InJson>;

/// The file is JSON.
#[derive(Debug, Clone)]
pub(super) struct InJson;

impl Format for InJson {
    const NAME: &'static str = "json";
    const SUMMARY: &'static str = "A value at a path of a JSON file; the rest stays";
    const EXAMPLE: &'static str = "json: { path: /etc/daemon.json, key: log-opts.max-size, value: 10m, create: true }";

    fn edit(path: edit::Path, value: Option<Content>) -> Edit {
        Edit::Json(edit::Json { path, value })
    }
}
