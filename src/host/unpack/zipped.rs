//! Zip archives, by their central directory, as PKWARE's APPNOTE describes them.

use std::fs::File;
use std::io::BufReader;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipFileHeaderRecord};
use rustix::fs::FileType;

use super::member::{Checked, Fault, Kind, Member, Visit, unreadable};

/// One entry of the central directory has three texts of 64 KiB at most.
const BUFFER: usize = 4 * RECOMMENDED_BUFFER_SIZE;

/// Visits each member. Its content fails where its length or checksum is not what the archive says.
pub(super) fn each(file: &File, visit: &mut Visit<'_>) -> Checked {
    let file = file.try_clone().map_err(unreadable)?;
    let mut buffer = vec![0; BUFFER];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        let member = member(&entry);
        if entry.flags().is_encrypted() || entry.flags().has_strong_encryption() {
            return Err(Fault::Refused("it is encrypted".to_owned()));
        }
        if entry.mode().is_symlink() && !entry.is_dir() {
            // Its target is its content, which is judged nowhere.
            return Err(Fault::Refused("links in a zip are not supported: use a tar".to_owned()));
        }
        let packed = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
        let bytes = BufReader::new(packed.reader());
        match entry.compression_method() {
            CompressionMethod::STORE => visit(&member, &mut packed.verifying_reader(bytes))?,
            CompressionMethod::DEFLATE => {
                visit(&member, &mut packed.verifying_reader(DeflateDecoder::new(bytes)))?;
            }
            other => {
                let number = other.as_u16();
                return Err(Fault::Refused(format!(
                    "it is packed by method {number} of zip, which is not supported: use deflate, or a tar"
                )));
            }
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn damaged(error: rawzip::Error) -> Fault {
    Fault::Unreadable(error.to_string())
}

fn member(entry: &ZipFileHeaderRecord<'_>) -> Member {
    let mode = entry.mode();
    let kind = match FileType::from_raw_mode(mode.value()) {
        _ if entry.is_dir() => Kind::Directory,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Other('l'),
        FileType::CharacterDevice => Kind::Other('c'),
        FileType::BlockDevice => Kind::Other('b'),
        FileType::Fifo => Kind::Other('p'),
        FileType::Socket => Kind::Other('s'),
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    let permissions = mode.permissions();
    Member {
        name: entry.file_path().as_bytes().to_vec(),
        kind,
        size: entry.uncompressed_size_hint(),
        // Without any, it was packed where there are none.
        mode: if permissions == 0 { 0o644 } else { permissions },
        // In the time of a zone that it does not name.
        modified: None,
    }
}
