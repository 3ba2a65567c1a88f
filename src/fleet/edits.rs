//! Follows the edits of a directory cluster: reads again after a change and pushes what differs.
//!
//! The file system's own notices make it quick; a slow comparison of sizes and times makes it certain,
//! because notices get lost (network file systems, watch limits, a directory that is replaced).

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use super::directory::{DirectoryCluster, Loaded};
use crate::registry::Registry;

/// Quiet time after the last notice before reading: editors write in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// Longest wait for quiet, so that a directory that never rests is read too.
const MAX_WAIT_FOR_QUIET: Duration = Duration::from_secs(2);
/// Time between comparisons of sizes and times while notices arrive.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// The same while there are none: the directory is missing, or cannot be watched.
const COMPARE_EVERY_WITHOUT_NOTICES: Duration = Duration::from_secs(2);

impl DirectoryCluster {
    /// Follows every edit until `cancel`. `pushed` is what [`DirectoryCluster::push`] gave to the registry before.
    pub async fn watch(self, pushed: Loaded, registry: Arc<Registry>, cancel: CancellationToken) {
        let this = Arc::new(self);
        let changed = Arc::new(Notify::new());
        let mut known = Arc::new(pushed);
        let mut notices = this.notices(&changed, known.linked());
        let mut fingerprint = None;
        // Edits between the first reading and the watch would be lost.
        changed.notify_one();
        loop {
            let pause = if notices.is_some() { COMPARE_EVERY } else { COMPARE_EVERY_WITHOUT_NOTICES };
            let noticed = tokio::select! {
                () = cancel.cancelled() => return,
                () = changed.notified() => true,
                () = time::sleep(pause) => false,
            };
            if noticed {
                quiet(&changed).await;
            } else if notices.is_none() {
                notices = this.notices(&changed, known.linked());
            }
            // A file system that hangs must not keep the controller from stopping.
            let now = this.clone().off_the_runtime(|this| this.fingerprint());
            let Some(now) = cancel.run_until_cancelled(now).await else { return };
            if !noticed && fingerprint == Some(now) {
                continue;
            }
            if !noticed && fingerprint.is_some() {
                // A change without a notice: the watch is on something else by now.
                notices = this.notices(&changed, known.linked());
            }
            fingerprint = Some(now);
            let before = known.clone();
            let read = this.clone().off_the_runtime(move |this| this.load_after(&before));
            let Some(read) = cancel.run_until_cancelled(read).await else { return };
            this.push_changes(&known, &read, &registry, now_seconds());
            if read.linked() != known.linked() {
                notices = this.notices(&changed, read.linked());
            }
            known = Arc::new(read);
            if !this.path().is_dir() {
                // A watch dies with its directory; one that comes back needs a new watch.
                notices = None;
            }
        }
    }

    async fn off_the_runtime<T: Send + 'static>(self: Arc<Self>, read: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(move || read(&self)).await.expect("reading files neither panics nor is aborted")
    }

    /// The watcher that reports changes, for as long as it is kept. It follows no link, which might lead anywhere: what links
    /// lead to is in `linked`, as far as it is read.
    fn notices(&self, changed: &Arc<Notify>, linked: &BTreeSet<PathBuf>) -> Option<RecommendedWatcher> {
        let changed = changed.clone();
        let on_event = move |event: notify::Result<notify::Event>| {
            // Errors are taken for changes: what they hide is found by reading.
            if event.map_or(true, |event| matters(event.kind)) {
                changed.notify_one();
            }
        };
        let config = notify::Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(on_event, config).and_then(|mut watcher| {
            // The cluster's own directory may be a link.
            let own = fs::canonicalize(self.path()).unwrap_or_else(|_| self.path().to_owned());
            watcher.watch(&own, RecursiveMode::Recursive)?;
            for directory in linked {
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        watcher
            .inspect_err(|error| {
                let seconds = COMPARE_EVERY_WITHOUT_NOTICES.as_secs();
                tracing::debug!(cluster = %self.name(), %error, "cannot watch the directory; compared every {seconds} s");
            })
            .ok()
    }
}

/// Reading a file is an event too, and would wake the reader for ever.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

async fn quiet(changed: &Notify) {
    let until_quiet = async { while time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    // Either way it is time to read.
    let _ = time::timeout(MAX_WAIT_FOR_QUIET, until_quiet).await;
}

pub(super) fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Settings,
        fleet::Observer,
        model::{ClusterName, Kind, NoteKind, ServiceKey},
        registry::KindState,
    };

    /// Longest wait for an edit to arrive, in seconds: far above the quiet time on a busy machine.
    const ARRIVES_WITHIN_SECONDS: u64 = 30;

    fn workload(name: &str) -> String {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  selector: {{}}\n  \
             template:\n    metadata:\n      labels: {{identity: {name}, env: stage}}\n      \
             annotations: {{sidecar.istio.io/inject: \"true\"}}\n    spec: {{containers: []}}\n---\n"
        )
    }

    struct Watched {
        directory: tempfile::TempDir,
        registry: Arc<Registry>,
        cluster: ClusterName,
        cancel: CancellationToken,
    }

    impl Watched {
        fn start(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(directory.path().join(name), text).unwrap();
            }
            let settings = Arc::new(Settings::default());
            let registry = Arc::new(Registry::new(settings.clone()));
            let cluster = ClusterName::parse("west").unwrap();
            let watched =
                DirectoryCluster::new(cluster.clone(), directory.path().to_owned(), Observer::new(settings, false));
            let loaded = watched.load();
            watched.push(&loaded, &registry, 1);
            registry.fleet_listed();
            let cancel = CancellationToken::new();
            tokio::spawn(watched.watch(loaded, registry.clone(), cancel.clone()));
            Self { directory, registry, cluster, cancel }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let temporary = self.path(&format!(".{name}"));
            fs::write(&temporary, text).unwrap();
            fs::rename(temporary, self.path(name)).unwrap();
        }

        fn runs(&self, name: &str) -> bool {
            self.registry.queries().services().contains(&ServiceKey::parse(name, "stage").unwrap())
        }

        fn state(&self, kind: Kind) -> KindState {
            let clusters = self.registry.queries().clusters();
            let west = clusters.iter().find(|c| c.name == self.cluster).unwrap();
            west.kinds.iter().find(|(k, _)| *k == kind).unwrap().1.clone()
        }

        async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
            let met = async {
                while !condition(self) {
                    time::sleep(Duration::from_millis(10)).await;
                }
            };
            let met = time::timeout(Duration::from_secs(ARRIVES_WITHIN_SECONDS), met).await;
            assert!(met.is_ok(), "{what}: {:?}", self.registry.notes().all());
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.cancel.cancel();
        }
    }

    #[tokio::test]
    async fn edits_arrive_and_a_broken_file_keeps_its_last_good_objects() {
        let watched = Watched::start(&[("a.yaml", &workload("orders")), ("b.yaml", &workload("reports"))]);
        assert!(watched.runs("orders") && watched.runs("reports"));

        watched.write("c.yaml", &workload("payments"));
        watched.until("a new file is read", |w| w.runs("payments")).await;

        watched.write("a.yaml", &format!("{}a: [\n", workload("billing")));
        watched.until("the good part of a broken file counts", |w| w.runs("billing")).await;
        assert!(watched.runs("orders"), "what a broken file held stays");
        assert!(matches!(watched.state(Kind::Deployment), KindState::Stale { .. }));
        let notes = watched.registry.notes().all();
        let note = notes.iter().find(|n| n.kind == NoteKind::ObjectMalformed).unwrap();
        assert_eq!(&*note.object.name, "a.yaml");
        assert!(note.message.starts_with("line "), "{}", note.message);

        watched.write("a.yaml", &workload("billing"));
        watched.until("what a corrected file no longer holds goes", |w| !w.runs("orders")).await;
        watched.until("the cluster is synced again", |w| w.state(Kind::Deployment) == KindState::Synced).await;
        assert!(watched.registry.notes().all().iter().all(|n| n.kind != NoteKind::ObjectMalformed));

        fs::remove_file(watched.path("b.yaml")).unwrap();
        watched.until("a removed file's objects go", |w| !w.runs("reports")).await;
    }

    // Invariant: A directory that is added to a fleet joins it, and one that vanishes is unknown, not empty.
    #[tokio::test]
    async fn a_vanished_directory_removes_nothing_and_is_followed_when_it_is_back() {
        let watched = Watched::start(&[("a.yaml", &workload("orders"))]);
        let away = watched.directory.path().with_extension("away");
        fs::rename(watched.directory.path(), &away).unwrap();
        watched.until("the loss is seen", |w| matches!(w.state(Kind::Deployment), KindState::Stale { .. })).await;
        assert!(watched.runs("orders"));
        fs::rename(&away, watched.directory.path()).unwrap();
        watched.until("the directory is back", |w| w.state(Kind::Deployment) == KindState::Synced).await;
        watched.write("a.yaml", &workload("billing"));
        watched.until("edits are seen again", |w| w.runs("billing") && !w.runs("orders")).await;
    }

    /// A mounted ConfigMap: all its files change by one rename of a link.
    #[cfg(unix)]
    #[tokio::test]
    async fn edits_behind_links_inside_arrive() {
        use std::os::unix::fs::symlink;
        let watched = Watched::start(&[("z.yaml", &workload("reports"))]);
        for (version, name) in [("..1", "orders"), ("..2", "payments")] {
            fs::create_dir(watched.path(version)).unwrap();
            fs::write(watched.path(version).join("map.yaml"), workload(name)).unwrap();
        }
        symlink("..1", watched.path("..data")).unwrap();
        symlink("..data/map.yaml", watched.path("map.yaml")).unwrap();
        watched.until("the link is read", |w| w.runs("orders")).await;
        symlink("..2", watched.path("..new")).unwrap();
        fs::rename(watched.path("..new"), watched.path("..data")).unwrap();
        watched.until("the swap is read", |w| w.runs("payments") && !w.runs("orders")).await;
    }

    // Invariant: A faulty object, kind or cluster affects no other.
    #[cfg(unix)]
    #[tokio::test]
    async fn planted_files_hide_what_was_there_and_are_passed_when_they_go() {
        use std::os::unix::fs::symlink;
        let watched = Watched::start(&[("a.yaml", &workload("orders"))]);
        let pipe = std::process::Command::new("mkfifo").arg(watched.path("pipe.yaml")).status().unwrap();
        assert!(pipe.success());
        symlink("/", watched.path("root")).unwrap();
        symlink("loop", watched.path("loop")).unwrap();
        watched.until("it is named", |w| matches!(w.state(Kind::Deployment), KindState::Stale { .. })).await;
        watched.write("b.yaml", &workload("payments"));
        watched.until("neighbours are read", |w| w.runs("payments") && w.runs("orders")).await;
        let notes = watched.registry.notes().all();
        let named =
            |name: &str, words: &str| notes.iter().any(|n| &*n.object.name == name && n.message.contains(words));
        assert!(named("pipe.yaml", "a named pipe") && named("root", "leads out of"), "{notes:?}");
        for planted in ["pipe.yaml", "root", "loop"] {
            fs::remove_file(watched.path(planted)).unwrap();
        }
        watched.until("it is whole again", |w| w.state(Kind::Deployment) == KindState::Synced).await;
    }

    #[test]
    fn reading_does_not_wake_the_reader() {
        assert!(!matters(EventKind::Access(AccessKind::Open(AccessMode::Read))));
        assert!(!matters(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(matters(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(matters(EventKind::Any));
    }
}
