//! Which files of a directory are manifests, and their texts. Whatever else is there (pipes, devices, loops of links, files
//! without end) is named and left out, and never waited for.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::files::{self, RootDirectory};

/// Largest manifest file that is read; a `kubectl get -o json` of a big cluster fits.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Deepest nesting of directories: deeper ones are a mistake, such as a mount inside itself.
const MAX_DEPTH: usize = 32;
/// Most entries of directories that are looked at: more are a mistake, such as a link to a directory of something else.
const MAX_ENTRIES: usize = 200_000;

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
pub(crate) enum TextError {
    #[error(transparent)]
    File(#[from] files::FileError),
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
    /// The directories that were entered, by where they really are below the root: links may lead to one twice, or in circles.
    pub(crate) entered: BTreeSet<PathBuf>,
    entries: usize,
}

/// Every `*.yaml`, `*.yml` and `*.json` below a directory. Hidden ones are left out. Links are followed, unless they lead out of
/// the root, and each directory is read once.
pub(crate) fn find(root: &Path, directory: &Path) -> ManifestFiles {
    let mut found = ManifestFiles::default();
    match RootDirectory::open(root) {
        Ok(root) => found.collect(&root, directory, Path::new(""), 0),
        Err(error) => found
            .unreadable
            .push(UnreadablePath { path: PathBuf::new(), message: format!("the directory cannot be read: {error}") }),
    }
    found.files.sort();
    found
}

impl ManifestFiles {
    fn collect(&mut self, root: &RootDirectory, directory: &Path, below: &Path, depth: usize) {
        let failed = |message: String| UnreadablePath { path: below.to_owned(), message };
        if depth > MAX_DEPTH {
            let message = format!("is nested deeper than {MAX_DEPTH} directories and is not read");
            return self.unreadable.push(failed(message));
        }
        let real = match root.resolve(&directory.join(below)) {
            Ok(real) => real,
            Err(files::FileError::Io(error)) => {
                return self.unreadable.push(failed(format!("the directory cannot be read: {error}")));
            }
            Err(error) => return self.unreadable.push(failed(format!("the directory {error}"))),
        };
        let mut entries = match root.entries(&real, MAX_ENTRIES + 1) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable.push(failed(format!("the directory cannot be read: {error}"))),
        };
        if !self.entered.insert(real) {
            return;
        }
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            let message = format!("more than {MAX_ENTRIES} files and directories are here; the rest is not read");
            return self.unreadable.push(failed(message));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            if entry.name.to_string_lossy().starts_with('.') {
                continue;
            }
            let path = below.join(&entry.name);
            // The type of what a link leads to.
            let is_directory = match entry.is_link {
                true => fs::metadata(directory.join(&path)).is_ok_and(|metadata| metadata.is_dir()),
                false => entry.is_directory,
            };
            if is_directory {
                self.collect(root, directory, &path, depth + 1);
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

/// The text of a file that was found below a root, of at most so many bytes.
///
/// # Errors
/// Without the path.
pub(crate) fn read_found(root: &Path, path: &Path, max_bytes: u64) -> Result<String, TextError> {
    let root = RootDirectory::open(root).map_err(files::FileError::from)?;
    text(root.read(path, max_bytes.min(MAX_FILE_BYTES))?)
}

/// The text of a file that somebody named: it may be a pipe, too.
///
/// # Errors
/// Without the path.
pub(crate) fn read(path: &Path) -> Result<String, TextError> {
    read_from(fs::File::open(path).map_err(files::FileError::from)?)
}

/// The text of a stream.
///
/// # Errors
/// When it cannot be read, is too long or is not UTF-8.
pub(crate) fn read_from(stream: impl io::Read) -> Result<String, TextError> {
    text(files::read_up_to(stream, MAX_FILE_BYTES)?)
}

fn text(bytes: Vec<u8>) -> Result<String, TextError> {
    let is_utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    String::from_utf8(bytes).map_err(|_| if is_utf_16 { TextError::Utf16 } else { TextError::NoText })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn shown(found: &ManifestFiles) -> Vec<String> {
        found.files.iter().map(|file| file.display().to_string()).collect()
    }

    fn find_in(root: &tempfile::TempDir) -> ManifestFiles {
        find(root.path(), root.path())
    }

    fn error_of(root: &tempfile::TempDir, file: &str) -> String {
        read_found(root.path(), &root.path().join(file), u64::MAX).expect_err("it is refused").to_string()
    }

    #[test]
    fn manifests_are_found_at_any_depth_and_through_links_inside_and_each_once() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("b/c.yaml")).unwrap();
        fs::create_dir_all(at("..2026_11/deep")).unwrap();
        for file in ["a.yaml", "b/c.yaml/d.yml", "b/e.json", "b/notes.txt", ".hidden.yaml", "..2026_11/map.yaml"] {
            fs::write(at(file), "kind: List").unwrap();
        }
        // A mounted ConfigMap.
        symlink("..2026_11", at("..data")).unwrap();
        symlink("..data/map.yaml", at("map.yaml")).unwrap();
        symlink(root.path(), at("b/loop")).unwrap();
        symlink("self.yaml", at("self.yaml")).unwrap();
        symlink(at("b"), at("b-again")).unwrap();
        symlink(at("nowhere"), at("gone.yaml")).unwrap();
        let found = find_in(&root);
        assert_eq!(found.unreadable, []);
        let expected = ["a.yaml", "b/c.yaml/d.yml", "b/e.json", "gone.yaml", "map.yaml", "self.yaml"];
        assert_eq!(shown(&found), expected);
        for file in ["a.yaml", "map.yaml", "b-again/e.json"] {
            assert_eq!(read_found(root.path(), &at(file), u64::MAX).unwrap(), "kind: List", "{file}");
        }
        assert!(error_of(&root, "gone.yaml").starts_with("cannot be read: No such file"));
        assert!(error_of(&root, "self.yaml").starts_with("cannot be read: Too many levels of symbolic links"));
    }

    // Invariant: Nothing that a directory holds leads out of it.
    #[test]
    fn links_that_lead_out_are_named_and_not_followed() {
        let (fleet, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| fleet.path().join(path);
        fs::create_dir(at("east")).unwrap();
        fs::create_dir(at("base")).unwrap();
        fs::write(at("base/shared.yaml"), "kind: List").unwrap();
        fs::write(other.path().join("secret.yaml"), "kind: Secret").unwrap();
        symlink(other.path(), at("east/planted")).unwrap();
        symlink(other.path().join("secret.yaml"), at("east/secret.yaml")).unwrap();
        symlink("../base", at("east/base")).unwrap();
        // Of a fleet, its directory is the root; of a single directory, that one.
        let found = find(fleet.path(), &at("east"));
        assert_eq!(shown(&found), ["base/shared.yaml", "secret.yaml"]);
        let [planted] = &found.unreadable[..] else { panic!("{:?}", found.unreadable) };
        assert_eq!(planted.path, Path::new("planted"));
        assert!(planted.message.contains("leads out of") && planted.message.contains("is not followed"));
        assert!(read_found(fleet.path(), &at("east/base/shared.yaml"), u64::MAX).is_ok());
        let said = read_found(fleet.path(), &at("east/secret.yaml"), u64::MAX).unwrap_err().to_string();
        assert!(said.starts_with("leads out of "), "{said}");
        assert_eq!(find(&at("east"), &at("east")).unreadable.len(), 2);
        let said = read_found(&at("east"), &at("east/../base/shared.yaml"), u64::MAX).unwrap_err().to_string();
        assert!(said.starts_with("leads out of "), "{said}");
    }

    #[test]
    fn what_is_no_directory_or_too_deep_is_named() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("nowhere");
        for found in [find(&nowhere, &nowhere), find(root.path(), &nowhere)] {
            assert!(found.unreadable[0].message.starts_with("the directory cannot be read: No such file"));
        }
        let deep = vec!["d"; MAX_DEPTH + 2].join("/");
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        let found = find_in(&root);
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
        assert_eq!(find_in(&root).files.len(), 4);
        for (file, what) in [("pipe.yaml", "a named pipe"), ("link.yaml", "a named pipe"), ("socket.yaml", "a socket")]
        {
            assert_eq!(error_of(&root, file), format!("is {what}, not a file, and is left out; remove it"), "{file}");
        }
        assert!(error_of(&root, "device.yaml").starts_with("leads out of "));
        let said = read_found(Path::new("/dev"), Path::new("/dev/zero"), u64::MAX).unwrap_err().to_string();
        assert_eq!(said, "is a device, not a file, and is left out; remove it");
    }

    #[test]
    fn texts_are_utf_8_and_have_an_end() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), "a: 1").unwrap();
        let said = read_found(root.path(), &root.path().join("a.yaml"), 3).unwrap_err().to_string();
        assert!(said.contains("has more than 0 MiB"), "{said}");
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("more than 256 MiB"));
        assert_eq!(read_from(&b"a: \xff"[..]).unwrap_err().to_string(), "is not text in UTF-8; save it as UTF-8");
        assert_eq!(read_from(&b"\xff\xfea\0"[..]).unwrap_err().to_string(), "is text in UTF-16; save it as UTF-8");
    }
}
