//! `armilla init [DIR]`: a new project that is valid as it is.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{Exit, ui};
use crate::diag::Diagnostic;

/// Makes a new project.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The folder; created if it does not exist
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// What a new project has, by path.
const FILES: &[(&str, &str)] = &[
    ("site.yml", include_str!("init/site.yml")),
    ("inventories/staging/hosts.yml", include_str!("init/hosts.yml")),
    ("inventories/staging/environment.yml", include_str!("init/environment.yml")),
    ("inventories/staging/group_vars/all.yml", include_str!("init/all.yml")),
    ("roles/welcome/role.yml", include_str!("init/role.yml")),
    ("roles/welcome/templates/motd.j2", include_str!("init/motd.j2")),
];

/// What says which project it is.
const IDENTITY: &str = "armilla.yml";

/// Runs the command.
pub(super) fn run(command: &Init) -> Exit {
    let folder = &command.folder;
    let files = || std::iter::once(IDENTITY).chain(FILES.iter().map(|(path, _)| *path));
    let taken: Vec<&str> = files().filter(|path| folder.join(path).exists()).collect();
    if !taken.is_empty() {
        ui::say(&format!(
            "error: {} already has these files, which are not overwritten: {}",
            folder.display(),
            taken.join(", ")
        ));
        ui::say("hint: use an empty folder: armilla init DIR");
        return Exit::Error;
    }
    for (path, text) in FILES {
        if let Err(error) = write(&folder.join(path), text) {
            ui::say(&format!("error: {} cannot be written: {error}", folder.join(path).display()));
            return Exit::Error;
        }
    }
    if let Err(problem) = identify(folder) {
        ui::problems(&problem.into());
        return Exit::Error;
    }
    let list: Vec<String> = files().map(|path| format!("  {}", folder.join(path).display())).collect();
    ui::result(&format!("A new project:\n{}", list.join("\n")));
    let enter = if folder == Path::new(".") { String::new() } else { format!("cd {} && ", folder.display()) };
    ui::say(&format!("\nPut your own hosts in inventories/staging/hosts.yml, then:  {enter}armilla plan staging"));
    ui::say(&format!("No hosts at hand? As root:  {enter}armilla lab up --env staging && armilla plan staging --lab"));
    Exit::Success
}

/// Gives the project an identity, with the name that its folder really has.
fn identify(folder: &Path) -> Result<(), Diagnostic> {
    let path = folder.join(IDENTITY);
    let failed = |error: std::io::Error| Diagnostic::error(format!("{} cannot be written: {error}", path.display()));
    let project = crate::operation::new_project(&folder.canonicalize().map_err(failed)?)?;
    write(&path, &crate::workspace::new_file(&project)).map_err(failed)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(parent)?;
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
