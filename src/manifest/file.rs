//! Which files of a directory are manifests, and their texts. Whatever else is there (pipes, devices, loops of links, files
//! without end) is named and left out, and never waited for.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Largest manifest file that is read; a `kubectl get -o json` of a big cluster fits.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Deepest nesting of directories: deeper ones are a mistake, such as a mount inside itself.
const MAX_DEPTH: usize = 32;
/// Most entries of directories that are looked at: more are a mistake, such as a link to the root of a machine.
const MAX_ENTRIES: usize = 1_000_000;

/// Something that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadablePath {
    /// Where it is, relative to the directory that was searched.
    pub(crate) path: PathBuf,
    /// Why, in words.
    pub(crate) message: String,
}

/// Why a file gives no text. Says nothing of its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is {0}, not a file, and is left out; remove it")]
    NoFile(&'static str),
    #[error("has more than {} MiB and is not read; split it", MAX_FILE_BYTES >> 20)]
    TooLong,
    #[error("is text in UTF-16; save it as UTF-8")]
    Utf16,
    #[error("is not text in UTF-8; save it as UTF-8")]
    NoText,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct ManifestFiles {
    /// The manifests, relative to the directory, in the order of their paths.
    pub(crate) files: Vec<PathBuf>,
    /// Directories that cannot be read.
    pub(crate) unreadable: Vec<UnreadablePath>,
    entries: usize,
    /// The directories that were entered, by where they really are: links may lead to one twice, or in circles.
    entered: BTreeSet<PathBuf>,
}

/// Every `*.yaml`, `*.yml` and `*.json` below a directory. Hidden ones are left out. Links are followed, and each
/// directory is read once.
pub(crate) fn find(root: &Path) -> ManifestFiles {
    let mut found = ManifestFiles::default();
    found.collect(root, Path::new(""), 0);
    found.files.sort();
    found
}

impl ManifestFiles {
    fn collect(&mut self, root: &Path, below: &Path, depth: usize) {
        let failed = |message: String| UnreadablePath { path: below.to_owned(), message };
        let directory = root.join(below);
        if depth > MAX_DEPTH {
            let message = format!("is nested deeper than {MAX_DEPTH} directories and is not read");
            return self.unreadable.push(failed(message));
        }
        let real = fs::canonicalize(&directory);
        let entries = real.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        let entries = entries.and_then(|_| fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>());
        let (Ok(real), Ok(mut entries)) = (real, entries.as_ref().map(|entries| entries.iter().collect::<Vec<_>>()))
        else {
            let error = entries.err().map(|error| error.to_string()).unwrap_or_default();
            return self.unreadable.push(failed(format!("the directory cannot be read: {error}")));
        };
        if !self.entered.insert(real) {
            return;
        }
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            let message = format!("more than {MAX_ENTRIES} files and directories are here; the rest is not read");
            return self.unreadable.push(failed(message));
        }
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let path = below.join(entry.file_name());
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // The type of what a link leads to.
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let is_directory = match is_link {
                true => fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()),
                false => entry.file_type().is_ok_and(|kind| kind.is_dir()),
            };
            if is_directory {
                self.collect(root, &path, depth + 1);
            } else if is_manifest(&path) {
                self.files.push(path);
            }
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Whether a file holds JSON, by its name.
pub(crate) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// The text of a file that was found in a directory. Only regular files are opened: a pipe would be waited for without end.
///
/// # Errors
/// Without the path.
pub(crate) fn read_found(path: &Path) -> Result<String, FileError> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(FileError::NoFile(described(&metadata)));
    }
    read(path)
}

/// The text of a file that somebody named: it may be a pipe, too.
///
/// # Errors
/// Without the path.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    read_from(fs::File::open(path)?)
}

/// The text of a stream.
///
/// # Errors
/// When it cannot be read, is too long or is not UTF-8.
pub(crate) fn read_from(stream: impl io::Read) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    stream.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLong);
    }
    let is_utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    String::from_utf8(bytes).map_err(|_| if is_utf_16 { FileError::Utf16 } else { FileError::NoText })
}

#[cfg(unix)]
fn described(metadata: &fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;

    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "a directory"
    }
}

#[cfg(not(unix))]
fn described(_: &fs::Metadata) -> &'static str {
    "something else"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn shown(found: &ManifestFiles) -> Vec<String> {
        found.files.iter().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn manifests_are_found_at_any_depth_and_through_links_and_each_once() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("b/c.yaml")).unwrap();
        for file in ["a.yaml", "b/c.yaml/d.yml", "b/e.json", "b/notes.txt", ".hidden.yaml"] {
            fs::write(at(file), "").unwrap();
        }
        fs::write(other.path().join("shared.yaml"), "").unwrap();
        symlink(other.path(), at("z-shared")).unwrap();
        symlink(root.path(), at("b/loop")).unwrap();
        symlink(at("b"), at("b-again")).unwrap();
        symlink(at("nowhere"), at("gone.yaml")).unwrap();
        let found = find(root.path());
        assert_eq!(found.unreadable, []);
        assert_eq!(shown(&found), ["a.yaml", "b/c.yaml/d.yml", "b/e.json", "gone.yaml", "z-shared/shared.yaml"]);
        assert!(read_found(&at("gone.yaml")).unwrap_err().to_string().starts_with("cannot be read: No such file"));
    }

    #[test]
    fn what_is_no_directory_or_too_deep_is_named() {
        let root = tempfile::tempdir().unwrap();
        let found = find(&root.path().join("nowhere"));
        assert!(found.unreadable[0].message.starts_with("the directory cannot be read: No such file"));
        let deep = vec!["d"; MAX_DEPTH + 2].join("/");
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        let found = find(root.path());
        assert!(found.unreadable[0].message.contains("deeper than 32"), "{:?}", found.unreadable);
    }

    #[test]
    fn pipes_sockets_and_devices_are_named_and_never_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let pipe = std::process::Command::new("mkfifo").arg(at("pipe.yaml")).status().unwrap();
        assert!(pipe.success());
        let _listener = UnixListener::bind(at("socket.yaml")).unwrap();
        symlink("/dev/zero", at("device.yaml")).unwrap();
        symlink(at("pipe.yaml"), at("link.yaml")).unwrap();
        assert_eq!(find(root.path()).files.len(), 4);
        for (file, what) in [
            ("pipe.yaml", "a named pipe"),
            ("link.yaml", "a named pipe"),
            ("socket.yaml", "a socket"),
            ("device.yaml", "a device"),
        ] {
            let said = read_found(&at(file)).unwrap_err().to_string();
            assert_eq!(said, format!("is {what}, not a file, and is left out; remove it"), "{file}");
        }
    }

    #[test]
    fn texts_are_utf_8_and_have_an_end() {
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("more than 256 MiB"));
        assert_eq!(read_from(&b"a: \xff"[..]).unwrap_err().to_string(), "is not text in UTF-8; save it as UTF-8");
        assert_eq!(read_from(&b"\xff\xfea\0"[..]).unwrap_err().to_string(), "is text in UTF-16; save it as UTF-8");
    }
}
