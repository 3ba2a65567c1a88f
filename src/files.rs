//! Files in directories that others write into: a path is followed to where it really leads, which has to be below a root, and
//! only regular files are opened.
//!
//! Links inside the root work, whatever they look like: mounted ConfigMaps and GitOps repositories are made of them. Decides
//! nothing about what is in a file.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    path::{Component, Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};

/// A directory that nothing leads out of.
#[derive(Debug)]
pub(crate) struct RootDirectory {
    /// Where it really is.
    path: PathBuf,
    dir: Dir,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is {0}, not a file, and is left out; remove it")]
    NoFile(&'static str),
    #[error("leads out of {}, and is not followed; put what it leads to there, or widen fleetRoot", .0.display())]
    LeadsOut(PathBuf),
    #[error("has more than {} MiB and is not read; split it", .0 >> 20)]
    TooLong(u64),
}

impl RootDirectory {
    /// The directory at `path`, which may itself be a link: whoever names it is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority())?;
        Ok(Self { path, dir })
    }

    /// Where a path really is, relative to the root.
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, FileError> {
        let real = fs::canonicalize(path)?;
        let below = real.strip_prefix(&self.path).map_err(|_| FileError::LeadsOut(self.path.clone()))?;
        Ok(if below.as_os_str().is_empty() { PathBuf::from(".") } else { below.to_owned() })
    }

    /// At most `max` entries of the directory at `below`, which [`RootDirectory::resolve`] gave, and their types.
    pub(crate) fn entries(&self, below: &Path, max: usize) -> io::Result<Vec<Entry>> {
        let entries = self.dir.read_dir(below)?.take(max);
        entries
            .map(|entry| {
                let entry = entry?;
                let kind = entry.file_type()?;
                Ok(Entry { name: entry.file_name().into(), is_directory: kind.is_dir(), is_link: kind.is_symlink() })
            })
            .collect()
    }

    /// The bytes of a regular file of at most `max_bytes`. The type is known before it is opened: a pipe would be waited for
    /// without end. Between the two nothing can turn the file into a link that leads out.
    pub(crate) fn read(&self, path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
        let below = self.resolve(path)?;
        let metadata = self.dir.metadata(&below)?;
        if !metadata.is_file() {
            return Err(FileError::NoFile(described(&metadata)));
        }
        read_up_to(self.dir.open(&below)?, max_bytes)
    }
}

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: PathBuf,
    pub(crate) is_directory: bool,
    pub(crate) is_link: bool,
}

/// Everything that comes from a stream, if it is not too much.
pub(crate) fn read_up_to(stream: impl io::Read, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    stream.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(FileError::TooLong(max_bytes));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn described(metadata: &cap_std::fs::Metadata) -> &'static str {
    use cap_std::fs::FileTypeExt as _;

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
fn described(_: &cap_std::fs::Metadata) -> &'static str {
    "something else"
}

/// A directory that files are written into, by their names alone. No link in it is followed, and none is written through.
#[derive(Debug)]
pub(crate) struct OutputDirectory {
    path: PathBuf,
    dir: Dir,
}

impl OutputDirectory {
    /// The directory `below` of `root`, which is made with the directories on the way where `make` says so. The root may be a
    /// link; what is below it must not lead out of it. None where it does not exist.
    pub(crate) fn open(root: &Path, below: &Path, make: bool) -> io::Result<Option<Self>> {
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no directory below the output directory"));
        }
        let opened = || -> io::Result<Dir> {
            if make {
                fs::create_dir_all(root)?;
            }
            let (root, path) = (RootDirectory::open(root)?, root.join(below));
            let below = match root.resolve(&path) {
                Ok(below) => below,
                Err(FileError::Io(error)) if make && error.kind() == io::ErrorKind::NotFound => {
                    root.dir.create_dir_all(below)?;
                    below.to_owned()
                }
                Err(FileError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error.to_string())),
            };
            root.dir.open_dir(below)
        };
        match opened() {
            Ok(dir) => Ok(Some(Self { path: root.join(below), dir })),
            Err(error) if !make && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a file of it is, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// At most `max` names of its regular files, sorted.
    pub(crate) fn files(&self, max: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.entries()?.take(max) {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The text of a regular file; none where there is nothing of the name.
    pub(crate) fn read(&self, name: &str, max_bytes: u64) -> io::Result<Option<String>> {
        self.check(name)?;
        let metadata = match self.dir.symlink_metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file"));
        }
        let too_long = |error: FileError| io::Error::new(io::ErrorKind::FileTooLarge, error.to_string());
        let bytes = match read_up_to(self.dir.open(name)?, max_bytes) {
            Ok(bytes) => bytes,
            Err(FileError::Io(error)) => return Err(error),
            Err(error) => return Err(too_long(error)),
        };
        String::from_utf8(bytes).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Writes a temporary file and renames it, so that no reader sees half of it. A link of either name is replaced and never
    /// written through.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.check(name)?;
        let temporary = format!(".{name}.new");
        // What a crash left, or somebody planted.
        match self.dir.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let write = || -> io::Result<()> {
            self.dir.open_with(&temporary, &options)?.write_all(text.as_bytes())?;
            self.dir.rename(&temporary, &self.dir, name)
        };
        write().inspect_err(|_| {
            // A disk that refuses writes may keep the temporary file.
            let _ = self.dir.remove_file(&temporary);
        })
    }

    /// Removes a file; of a link, the link.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.check(name)?;
        self.dir.remove_file(name)
    }

    fn check(&self, name: &str) -> io::Result<()> {
        let mut parts = Path::new(name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(only)), None) if only == name => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is no name of a file")),
        }
    }
}
