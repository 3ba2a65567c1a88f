//! The payments story as three directory clusters, embedded: what `tradewind demo` shows.
//!
//! `orders` runs in cluster-1 and `reports` in cluster-2, both us-west; `payments` runs in
//! cluster-2 and, under another namespace, in cluster-3, us-east. Both clients declare a
//! Dependency on payments, whose owners send 90 % to the east. These are ordinary manifests.

use std::{fs, io, path::Path};

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        /// Every file of the sample: its path below the fleet directory, and its text.
        pub const FILES: &[(&str, &str)] = &[$(($path, include_str!($path))),+];
    };
}

files!(
    "cluster-1/dependencies.yaml",
    "cluster-1/mesh.yaml",
    "cluster-1/orders.yaml",
    "cluster-2/mesh.yaml",
    "cluster-2/payments.yaml",
    "cluster-2/reports.yaml",
    "cluster-3/mesh.yaml",
    "cluster-3/payments.yaml",
    "cluster-3/traffic-policy.yaml",
);

/// Writes the sample below `directory`, which is made where it is missing: one sub-directory per cluster.
///
/// # Errors
/// When a file cannot be written, or exists already: somebody's edits are never overwritten.
pub fn write_to(directory: &Path) -> io::Result<()> {
    for (path, text) in FILES {
        let path = directory.join(path);
        let in_words =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(in_words)?;
        }
        let mut file = fs::File::create_new(&path).map_err(in_words)?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(in_words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_in_this_directory_is_embedded() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample");
        let mut found: Vec<String> = fs::read_dir(&here)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .flat_map(|cluster| {
                let name = cluster.file_name().into_string().unwrap();
                fs::read_dir(cluster.path())
                    .unwrap()
                    .map(move |file| format!("{name}/{}", file.unwrap().file_name().to_str().unwrap()))
                    .collect::<Vec<_>>()
            })
            .collect();
        found.sort();
        assert_eq!(found, FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn is_written_as_it_is_and_never_over_edits() {
        let directory = tempfile::tempdir().unwrap();
        write_to(directory.path()).unwrap();
        for (path, text) in FILES {
            assert_eq!(fs::read_to_string(directory.path().join(path)).unwrap(), *text);
        }
        let error = write_to(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("dependencies.yaml"));
    }
}
