//! `file`: a regular file with this content, owner and mode.
//!
//! In: path, content and permissions. Out: a write that is never half done, or only a change of permissions.
//! Never: a write through a symbolic link, or over a directory.

use super::Source;
use super::path::AtPath;
use super::regular::{Sort, Written};

/// A regular file.
pub(super) type File = AtPath<Written<Plain>>;

/// Its content is taken as it is.
#[derive(Debug, Clone)]
pub(super) struct Plain;

impl Sort for Plain {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "A regular file with this content, owner and mode";
    const EXAMPLE: &'static str = "file: { path: /etc/motd, content: \"Be kind.\\n\", mode: \"0644\" }";
    const SOURCE: Source = Source::File;
}
