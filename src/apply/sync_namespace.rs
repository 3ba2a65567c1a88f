//! The sync namespace of a cluster: created where it is missing, once, however many units wait for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{
    store::{Outcome, WriteError, whole},
    writer::ClusterWriter,
};
use crate::model::{Kind, Note, NoteKind, ObjectId};

/// How long after its creation the sync namespace counts as there although no watch has shown it: several times what a
/// watch needs, and short enough that a namespace which is deleted at once is created again.
const NAMESPACE_SHOWN_WITHIN_SECONDS: u64 = 10;

/// What a writer remembers of the sync namespace.
#[derive(Default)]
pub(super) struct SyncNamespace {
    /// When it was created; the watch shows it a moment later.
    created: tokio::sync::Mutex<Option<Instant>>,
    /// Whether a note says that it is missing.
    is_noted: AtomicBool,
}

impl ClusterWriter {
    /// Creates the sync namespace where it is missing, for the object `id` in it.
    pub(super) async fn ensure_namespace(&self, id: &ObjectId) -> Outcome<()> {
        let name = &self.shared.settings.sync_namespace;
        let SyncNamespace { created, is_noted } = &self.sync_namespace;
        if self.shared.view.has_namespace(&self.cluster, name) != Some(false) {
            if is_noted.swap(false, Ordering::Relaxed) {
                // Somebody else created it.
                self.shared.view.note(&self.cluster, &whole(Kind::Namespace, name), Vec::new());
            }
            return Ok(());
        }
        let mut created = created.lock().await;
        if created.is_some_and(|at| at.elapsed().as_secs() < NAMESPACE_SHOWN_WITHIN_SECONDS) {
            return Ok(());
        }
        if self.state.lock().backoff.kind_until(id, Instant::now()).is_some() {
            return Err(WriteError::Waiting);
        }
        let answer = self.store.create_namespace(name).await;
        let notes = match &answer {
            Ok(()) => {
                tracing::info!(cluster = %self.cluster, kind = "Namespace", name, "create");
                *created = Some(Instant::now());
                Vec::new()
            }
            Err(error) if error.is_sick_cluster() => return Err(error.clone()),
            Err(error) => {
                self.state.lock().backoff.failed(id, &WriteError::NoNamespace, Instant::now());
                let message = format!("the namespace for our objects is missing and cannot be created: {error}");
                let object = ObjectId::new(Kind::Namespace, "", name).in_cluster(&self.cluster);
                vec![Note { kind: NoteKind::SyncNamespaceMissing, object, service: None, message }]
            }
        };
        is_noted.store(!notes.is_empty(), Ordering::Relaxed);
        self.shared.view.note(&self.cluster, &whole(Kind::Namespace, name), notes);
        answer.map_err(|_| WriteError::NoNamespace)
    }
}
