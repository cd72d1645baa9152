//! Importing files and folders.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use super::message::{Message, Type};
use super::{DirectoryBuilder, FileBuilder, ImportError, ImportOptions, Imported};
use crate::dag_pb::{self, Node};
use crate::source::BlockSink;

/// How deep folders may nest.
pub const MAX_NESTING: usize = 256;

/// Imports the bytes of an input as a file.
pub fn import_reader(
    mut input: impl Read,
    options: ImportOptions,
    sink: &mut impl BlockSink,
) -> Result<Imported, ImportError> {
    let mut file = FileBuilder::new(options)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return file.finish(sink),
            Ok(read) => file.write(buffer.get(..read).unwrap_or_default(), sink)?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Makes a symbolic link.
pub fn symlink(
    target: &str,
    options: ImportOptions,
    sink: &mut impl BlockSink,
) -> Result<Imported, ImportError> {
    let message = Message {
        data: Some(Bytes::copy_from_slice(target.as_bytes())),
        ..Message::of(Type::Symlink)
    };
    let bytes = dag_pb::encode(&Node {
        links: Vec::new(),
        data: Some(Bytes::from(message.encode())),
    });
    let total_size = bytes.len() as u64;
    let cid = options.put_node(bytes, sink)?;
    Ok(Imported { cid, total_size })
}

/// Imports a file, a symbolic link, or a folder with all that is in it, as `ipfs add -r` does.
///
/// Symbolic links are kept as such and never followed.
pub fn import_path(
    path: &Path,
    options: ImportOptions,
    sink: &mut impl BlockSink,
) -> Result<Imported, ImportError> {
    options.check()?;
    import_at(path, options, sink, 0)
}

fn import_at(
    path: &Path,
    options: ImportOptions,
    sink: &mut impl BlockSink,
    depth: usize,
) -> Result<Imported, ImportError> {
    if depth > MAX_NESTING {
        return Err(ImportError::TooDeep(MAX_NESTING));
    }
    let failed = |reason| ImportError::Read {
        path: path.to_owned(),
        reason,
    };
    let kind = fs::symlink_metadata(path).map_err(failed)?.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        let target = target
            .to_str()
            .ok_or_else(|| ImportError::Unsupported(path.to_owned()))?;
        symlink(target, options, sink)
    } else if kind.is_dir() {
        let mut directory = DirectoryBuilder::new(options);
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| ImportError::Unsupported(entry.path()))?;
            if name.starts_with('.') && !options.hidden {
                continue;
            }
            let made = import_at(&entry.path(), options, sink, depth + 1)?;
            directory.add(&name, made)?;
        }
        directory.finish(sink)
    } else if kind.is_file() {
        import_reader(File::open(path).map_err(failed)?, options, sink)
    } else {
        Err(ImportError::Unsupported(path.to_owned()))
    }
}
