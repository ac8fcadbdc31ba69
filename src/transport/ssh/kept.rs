//! Connections that outlive the program that made them, so that the next one need not log in again.
//!
//! In: the command line of a master. Out: the socket of one that was made by the very same line, or a spot for one.
//! Never: a socket in a folder that somebody else could write to; two masters on one spot.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use camino::Utf8Path;

use super::directory::{first_fit, parents};
use crate::step::Digest;

/// Where a connection is, or will be.
#[derive(Debug)]
pub(super) enum Spot {
    /// It is there, and its master answers.
    There(PathBuf),
    /// It can be made: nobody else makes it as long as the file is open.
    Free(PathBuf, File),
    /// Somebody else is making it just now.
    Taken,
}

/// The spot of the connection that this command line makes.
///
/// # Errors
/// When there is no folder that is ours alone.
pub(super) async fn spot(arguments: &[OsString], parent: Option<&Utf8Path>) -> io::Result<Spot> {
    let line: Vec<u8> = arguments.iter().flat_map(|word| word.as_bytes().iter().copied().chain([0])).collect();
    let socket = folder(parent)?.join(&Digest::of(&line).0[..16]);
    if answers(&socket).await {
        return Ok(Spot::There(socket));
    }
    let alone = File::create(socket.with_extension("lock"))?;
    if alone.try_lock().is_err() {
        return Ok(Spot::Taken);
    }
    // Somebody may have made it meanwhile.
    if answers(&socket).await {
        return Ok(Spot::There(socket));
    }
    for file in [&socket, &socket.with_extension("log")] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(Spot::Free(socket, alone))
}

async fn answers(socket: &Path) -> bool {
    if fs::symlink_metadata(socket).is_err() {
        return false;
    }
    let session = openssh::Session::resume_mux(socket.to_owned().into_boxed_path(), None);
    matches!(tokio::time::timeout(Duration::from_secs(2), session.check()).await, Ok(Ok(())))
}

/// Below the given one, or that which systemd gives each user, or else one for temporary files.
fn folder(parent: Option<&Utf8Path>) -> io::Result<PathBuf> {
    let us = nix::unistd::getuid().as_raw();
    let ours = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let ours = ours.filter(|ours| first_fit(std::slice::from_ref(ours), "armilla").is_ok());
    let folder = match (parent, ours) {
        (Some(parent), _) => parent.as_std_path().join("kept"),
        (None, Some(ours)) => ours.join("armilla"),
        (None, None) => {
            let name = format!("armilla-{us}");
            first_fit(&parents(), &name)?.join(name)
        }
    };
    let why = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(why(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder).map_err(why)?;
    if !found.is_dir() || found.uid() != us || found.mode() & 0o077 != 0 {
        let text = format!("{} is not a folder that only this user can read and write", folder.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, text));
    }
    Ok(folder)
}
