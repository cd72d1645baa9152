//! The operator's secret: whoever can read the data folder may operate the node.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

const NAME: &str = "operator-secret";
const BYTES: usize = 32;

/// The secret of a folder.
///
/// # Errors
/// What the system says; a file that is not a secret is [`io::ErrorKind::InvalidData`].
pub fn read(dir: &Path) -> io::Result<String> {
    let text = fs::read_to_string(dir.join(NAME))?;
    let text = text.trim();
    if text.len() == BYTES * 2 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        let what = format!(
            "{} does not hold {} hexadecimal digits",
            dir.join(NAME).display(),
            BYTES * 2
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// The secret of a folder, made at first use, readable by its owner only.
///
/// # Errors
/// As [`read`], and when no random numbers or no space can be had.
pub fn read_or_make(dir: &Path) -> io::Result<String> {
    match read(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut random = [0_u8; BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let fresh = dir.join("operator-secret.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&fresh, dir.join(NAME))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            read(dir.path()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let secret = read_or_make(dir.path()).unwrap();
        assert_eq!(read_or_make(dir.path()).unwrap(), secret);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join(NAME))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(dir.path().join(NAME), "short").unwrap();
        assert_eq!(
            read(dir.path()).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
