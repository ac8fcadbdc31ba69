//! What this machine has too little of.
//!
//! In: an error of something that was tried here. Out: what is used up and what to do about it, if that is why it failed.

use std::error::Error;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// What is used up on this machine, if that is why something failed.
pub(super) fn shortage(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if let Some(used_up) = code.and_then(|code| used_up(Errno::from_raw(code))) {
            return Some(used_up);
        }
        cause = error.source();
    }
    None
}

fn used_up(code: Errno) -> Option<String> {
    Some(match code {
        Errno::EMFILE => few_files(),
        Errno::ENFILE => "this machine has too many open files: stop other programs, or raise fs.file-max".to_owned(),
        Errno::ENOMEM => "this machine is out of memory".to_owned(),
        Errno::ENOSPC | Errno::EDQUOT => "the disk of this machine is full, or your quota is used up".to_owned(),
        Errno::EROFS => "the directory for temporary files cannot be written: set TMPDIR to one that can".to_owned(),
        _ => return None,
    })
}

/// That this program may have too few files open.
pub(super) fn few_files() -> String {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or_else(|_| "low".to_owned(), |(most, _)| most.to_string());
    format!("the limit of open files is {most}: raise it (`ulimit -n 4096`, or LimitNOFILE= of a service)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_below_other_errors_and_named_with_what_to_do() {
        #[derive(Debug, thiserror::Error)]
        #[error("the remote command could not be executed")]
        struct Outer(#[source] io::Error);
        let few = shortage(&Outer(io::Error::from_raw_os_error(Errno::EMFILE as i32)));
        assert!(few.is_some_and(|why| why.contains("ulimit -n")));
        assert!(shortage(&io::Error::from_raw_os_error(Errno::ENOSPC as i32)).is_some_and(|why| why.contains("full")));
        assert_eq!(shortage(&Outer(io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32))), None);
    }
}
