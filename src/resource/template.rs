//! `template`: a regular file whose content is rendered from a template of the role or project.
//!
//! In: path, rendered content and permissions. Out: a write that is never half done, or only a change of permissions.
//! Never: the template itself; rendering is over before a kind sees it.

use super::Source;
use super::path::AtPath;
use super::regular::{Sort, Written};

/// A regular file, rendered from a template.
pub(super) type Template = AtPath<Written<Rendered>>;

/// Its content was rendered.
#[derive(Debug, Clone)]
pub(super) struct Rendered;

impl Sort for Rendered {
    const NAME: &'static str = "template";
    const SUMMARY: &'static str = "A regular file rendered from a template, with this owner and mode";
    const EXAMPLE: &'static str = "template: { src: zoo.cfg.j2, path: /etc/zookeeper/conf/zoo.cfg, mode: \"0644\" }";
    const SOURCE: Source = Source::Template;
}
