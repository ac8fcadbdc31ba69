//! `yaml`: a value at a path of a YAML file.
//!
//! In: the way to the value, and the value. Out: the file in which only that is different. Never: another key changed.

use super::keyed::{Format, Keyed};
use crate::edit::{self, Edit};
use crate::secret::Content;

/// A value at a path of a YAML file.
pub(super) type Yaml = Keyed<InYaml>;

/// The file is YAML.
#[derive(Debug, Clone)]
pub(super) struct InYaml;

impl Format for InYaml {
    const NAME: &'static str = "yaml";
    const SUMMARY: &'static str = "A value at a path of a YAML file; the rest stays";
    const EXAMPLE: &'static str =
        "yaml: { path: /etc/monitor.yml, key: targets.zookeeper.port, value: 2181, create: true }";

    fn edit(path: edit::Path, value: Option<Content>) -> Edit {
        Edit::Yaml(edit::Yaml { path, value })
    }
}
