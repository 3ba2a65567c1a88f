//! Directories that are added to a fleet directory while it is served: each becomes a cluster of the fleet.
//!
//! Decides when a directory joins. None ever leaves: one that vanishes is a cluster that cannot be read, and what is known
//! of it stays (`edits.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{
    Observer,
    directory::DirectoryCluster,
    edits::now_seconds,
    file::{self, SubDirectory},
};
use crate::{
    model::{ClusterName, Note, NoteKind, ObjectKind, ObjectPath},
    registry::{NoteSource, Registry},
};

/// Time between looks. Somebody who has just made a directory still fills it, so that notices would gain nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Follows the directories of `root` that are not in `known`, until `cancel`.
pub async fn follow_new(
    root: PathBuf,
    mut known: BTreeSet<ClusterName>,
    registry: Arc<Registry>,
    observer: Observer,
    cancel: CancellationToken,
) {
    let mut followed = JoinSet::new();
    let mut refused = BTreeMap::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = time::sleep(LOOK_EVERY) => {}
        }
        let (looked, bound) = (root.clone(), observer.settings().fleet_root.clone());
        let found =
            tokio::task::spawn_blocking(move || file::sub_directories(&looked, bound.as_deref().unwrap_or(&looked)));
        let Some(found) = cancel.run_until_cancelled(found).await else { break };
        // A fleet directory that cannot be read names no new cluster; the known ones are watched on their own.
        let Ok(Ok(found)) = found else { continue };
        let mut refused_now = BTreeMap::new();
        for SubDirectory { path, name } in found {
            match name {
                Ok(name) if known.insert(name.clone()) => {
                    tracing::info!(cluster = %name, directory = %path.display(), "cluster joins");
                    let cluster = DirectoryCluster::new(name, path, observer.clone()).below(&root);
                    let read = tokio::task::spawn_blocking(move || (cluster.load(), cluster));
                    let Some(read) = cancel.run_until_cancelled(read).await else { break };
                    let (loaded, cluster) = read.expect("reading files neither panics nor is aborted");
                    cluster.push(&loaded, &registry, now_seconds());
                    followed.spawn(cluster.watch(loaded, registry.clone(), cancel.clone()));
                }
                Ok(_) => {}
                Err(reason) => {
                    refused_now.insert(path, reason.to_string());
                }
            }
        }
        if refused_now != refused {
            for path in refused.keys().chain(refused_now.keys()).collect::<BTreeSet<_>>() {
                let notes = refused_now.get(path).map(|reason| note(path, reason)).into_iter().collect();
                registry.notes().put(NoteSource::Fleet(format!("directory {}", path.display())), notes);
            }
            refused = refused_now;
        }
    }
    followed.join_all().await;
}

fn note(path: &std::path::Path, reason: &str) -> Note {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Note {
        kind: NoteKind::ClusterRefused,
        object: ObjectPath::new(&ClusterName::hub(), ObjectKind::Directory, "", &name),
        service: None,
        message: format!("it cannot be a cluster: {reason}"),
    }
}
