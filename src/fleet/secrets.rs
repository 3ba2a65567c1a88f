//! Which clusters the hub's Secrets register: Admiral's form and Istio's remote secrets, both with a cluster's name as
//! data key and its kubeconfig as value (Admiral, docs/admiral-behaviour.md#cluster-registration).
//!
//! Secrets in, members and notes out; pure but for reading kubeconfigs. Connections are made elsewhere.
//! Kubeconfigs are read when a Secret arrives and not kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use serde::Deserialize as _;
use serde_json::Value;

use super::kubeconfig::{self, Fingerprint, RefusedKubeconfig};
use crate::model::{
    ClusterName, MAX_RELEASE_ID_BYTES, NameError, Note, NoteKind, ObjectKind, ObjectPath, is_dns_label, printable,
};

/// Longest part of an annotation that a note repeats.
const MAX_SHOWN_CHARS: usize = 80;
/// The labels that make a Secret a cluster Secret: Admiral's, and that of Istio's remote secrets.
pub const LABELS: [&str; 2] = ["admiral/sync=true", "istio/multiCluster=true"];
/// Annotation by which an operator releases withheld removals in the clusters of a Secret.
pub const RELEASE_REMOVALS: &str = "tradewind.io/release-removals";

/// Annotation, with the value `true`, by which an operator confirms that the clusters of a Secret leave when it is deleted.
const LEAVING: &str = "tradewind.io/leaving";
/// Annotation with the namespace of Istio in the clusters of a Secret.
const ISTIO_NAMESPACE: &str = "tradewind.io/istio-namespace";

/// An object that was listed as a Secret is none. The decoder's message is dropped, as it may quote a value, and values are credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a Secret of the core API")]
pub(super) struct NotASecret;

/// One data key of a Secret.
struct SecretEntry {
    fingerprint: Fingerprint,
    config: Result<Config, RefusedKubeconfig>,
}

/// A cluster Secret, without its kubeconfigs.
pub(super) struct ClusterSecret {
    name: String,
    created_seconds: i64,
    entries: BTreeMap<String, SecretEntry>,
    release: Option<String>,
    is_leaving: bool,
    istio_namespace: Option<String>,
}

impl ClusterSecret {
    /// Reads a Secret.
    pub(super) fn read(value: &Value, allowed: &[String]) -> Result<Self, NotASecret> {
        let secret = Secret::deserialize(value).map_err(|_| NotASecret)?;
        let metadata = secret.metadata;
        let mut annotations = metadata.annotations.unwrap_or_default();
        let entry = |bytes: &[u8]| SecretEntry {
            fingerprint: Fingerprint::of(bytes),
            config: kubeconfig::from_secret(bytes, allowed),
        };
        Ok(Self {
            name: metadata.name.unwrap_or_default(),
            created_seconds: metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            entries: secret
                .data
                .unwrap_or_default()
                .iter()
                .map(|(key, value)| (key.clone(), entry(&value.0)))
                .collect(),
            release: annotations.remove(RELEASE_REMOVALS).filter(|id| id.len() <= MAX_RELEASE_ID_BYTES),
            is_leaving: annotations.remove(LEAVING).is_some_and(|value| value == "true"),
            istio_namespace: annotations.remove(ISTIO_NAMESPACE).filter(|namespace| !namespace.is_empty()),
        })
    }
}

/// All cluster Secrets of the hub.
#[derive(Default)]
pub(super) struct SecretBook {
    /// By label, then by name: a Secret may carry both labels.
    secrets: [BTreeMap<String, Result<ClusterSecret, NotASecret>>; LABELS.len()],
    /// Labels whose Secrets were listed once.
    listed: [bool; LABELS.len()],
    /// Clusters that leave with their Secret, also when it was marked and deleted in one go.
    leaving: BTreeSet<ClusterName>,
}

impl SecretBook {
    /// The complete list of a label's Secrets.
    pub(super) fn reset(&mut self, label: usize, secrets: BTreeMap<String, Result<ClusterSecret, NotASecret>>) {
        secrets.values().flatten().for_each(|secret| self.confirm(secret));
        self.secrets[label] = secrets;
        self.listed[label] = true;
    }

    pub(super) fn put(&mut self, label: usize, name: String, secret: Result<ClusterSecret, NotASecret>) {
        secret.iter().for_each(|secret| self.confirm(secret));
        self.secrets[label].insert(name, secret);
    }

    fn confirm(&mut self, secret: &ClusterSecret) {
        for name in secret.entries.keys().filter_map(|key| ClusterName::parse(key).ok()) {
            if secret.is_leaving {
                self.leaving.insert(name)
            } else {
                self.leaving.remove(&name)
            };
        }
    }

    pub(super) fn remove(&mut self, label: usize, name: &str) {
        self.secrets[label].remove(name);
    }

    /// Whether every Secret was seen once.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.iter().all(|listed| *listed)
    }

    /// Compares the Secrets with the present members (a name, and the kubeconfig it is connected by).
    /// Names in `taken` belong to clusters that do not come from Secrets; `registered` names the Secret that registered each
    /// member when they were compared last.
    pub(super) fn diff(
        &self,
        members: &BTreeMap<ClusterName, Option<Fingerprint>>,
        taken: &BTreeSet<ClusterName>,
        registered: &BTreeMap<ClusterName, String>,
        namespace: &str,
    ) -> MembershipDiff {
        let mut comparison = Comparison { members, taken, namespace, diff: MembershipDiff::default() };
        let (secrets, is_whole) = self.by_age(&mut comparison);
        for secret in &secrets {
            comparison.secret(secret);
        }
        comparison.keep_without_data(&secrets, registered);
        let mut diff = comparison.diff;
        // An unreadable Secret may register any cluster.
        let missing = members.keys().filter(|name| is_whole && !diff.secrets.contains_key(*name));
        diff.missing = missing.cloned().collect();
        diff.leaving = self.leaving.clone();
        diff
    }

    /// The Secrets, the oldest first, each once, and whether all of them could be read.
    fn by_age(&self, comparison: &mut Comparison<'_>) -> (Vec<&ClusterSecret>, bool) {
        let mut is_whole = true;
        let mut secrets: BTreeMap<&str, &ClusterSecret> = BTreeMap::new();
        for (name, secret) in self.secrets.iter().flatten() {
            match secret {
                Ok(secret) => {
                    secrets.insert(name, secret);
                }
                Err(reason) => {
                    is_whole = false;
                    comparison.refuse(name, format!("the Secret cannot be read: {reason}"));
                }
            }
        }
        let mut by_age: Vec<&ClusterSecret> = secrets.into_values().collect();
        by_age.sort_by_key(|secret| (secret.created_seconds, &secret.name));
        (by_age, is_whole)
    }
}

/// A comparison of Secrets with members under way.
struct Comparison<'a> {
    members: &'a BTreeMap<ClusterName, Option<Fingerprint>>,
    taken: &'a BTreeSet<ClusterName>,
    /// Where the Secrets are.
    namespace: &'a str,
    diff: MembershipDiff,
}

impl Comparison<'_> {
    fn secret(&mut self, secret: &ClusterSecret) {
        self.diff.notes.entry(secret.name.clone()).or_default();
        let istio_namespace = secret.istio_namespace.as_deref().filter(|name| is_dns_label(name));
        if let (Some(wrong), None) = (&secret.istio_namespace, istio_namespace) {
            let wrong = printable(wrong, MAX_SHOWN_CHARS);
            let message = format!(
                "the annotation {ISTIO_NAMESPACE} is {wrong:?}, which is no namespace's name; what counted before stays, at a start the setting"
            );
            self.note(NoteKind::ClusterFactInvalid, &secret.name, message);
        }
        for (key, entry) in &secret.entries {
            if let Err(refusal) = self.entry(secret, istio_namespace, key, entry) {
                self.refuse(&secret.name, refusal.to_string());
            }
        }
    }

    /// A Secret without data is an accident: the clusters that it registered before keep their connections.
    fn keep_without_data(&mut self, secrets: &[&ClusterSecret], registered: &BTreeMap<ClusterName, String>) {
        for secret in secrets.iter().filter(|secret| secret.entries.is_empty()) {
            let kept: Vec<&ClusterName> = registered
                .iter()
                .filter(|(name, by)| **by == secret.name && !self.diff.secrets.contains_key(*name))
                .map(|(name, _)| name)
                .collect();
            let mut message =
                "it has no data; a key with the cluster's name and its kubeconfig as value is expected".to_owned();
            for name in kept {
                self.diff.secrets.insert(name.clone(), secret.name.clone());
                message += &format!(". {name}: the last good connection stays");
            }
            self.refuse(&secret.name, message);
        }
    }

    fn entry(
        &mut self,
        secret: &ClusterSecret,
        istio_namespace: Option<&str>,
        key: &str,
        entry: &SecretEntry,
    ) -> Result<(), EntryError> {
        let name = ClusterName::parse(key).map_err(|reason| EntryError::Name { key: key.to_owned(), reason })?;
        if self.taken.contains(&name) {
            return Err(EntryError::InFleetFile(name));
        }
        if let Some(holder) = self.diff.secrets.get(&name) {
            return Err(EntryError::InOlderSecret { name, holder: holder.clone() });
        }
        self.diff.secrets.insert(name.clone(), secret.name.clone());
        // An invalid value leaves the one that is in force.
        if istio_namespace.is_some() || secret.istio_namespace.is_none() {
            self.diff.istio_namespaces.insert(name.clone(), istio_namespace.map(str::to_owned));
        }
        if let Some(release) = &secret.release {
            self.diff.releases.insert(name.clone(), release.clone());
        }
        self.connect(name, entry)
    }

    /// Decides about the connection of a cluster.
    fn connect(&mut self, name: ClusterName, entry: &SecretEntry) -> Result<(), EntryError> {
        let member = self.members.get(&name);
        match &entry.config {
            Ok(_) if member == Some(&Some(entry.fingerprint)) => Ok(()),
            Ok(config) => {
                self.diff.steps.insert(name, Step::Connect(Box::new(config.clone()), entry.fingerprint));
                Ok(())
            }
            Err(refused) => {
                let is_connected = matches!(member, Some(Some(_)));
                if !is_connected {
                    let step = Step::Hold(format!("its kubeconfig is refused: {refused}"));
                    self.diff.steps.insert(name.clone(), step);
                }
                Err(EntryError::Kubeconfig { name, reason: refused.to_string(), is_connected })
            }
        }
    }

    fn refuse(&mut self, secret: &str, message: String) {
        self.note(NoteKind::ClusterRefused, secret, message);
    }

    fn note(&mut self, kind: NoteKind, secret: &str, message: String) {
        let object = secret_ref(self.namespace, secret);
        let note = Note { kind, object, service: None, message };
        self.diff.notes.entry(secret.to_owned()).or_default().push(note);
    }
}

/// Why a data key of a Secret registers no cluster, or not with its kubeconfig.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("the data key {key:?} is no cluster name: it {reason}")]
    Name { key: String, reason: NameError },
    #[error("cluster {0} is registered by the fleet file, which goes before")]
    InFleetFile(ClusterName),
    #[error("cluster {name} is registered by the older Secret {holder}, which goes before")]
    InOlderSecret { name: ClusterName, holder: String },
    #[error(
        "the kubeconfig of cluster {name} is refused: {reason}. {name}: {}",
        if *.is_connected { "the last good connection stays" } else { "it is not watched" }
    )]
    Kubeconfig { name: ClusterName, reason: String, is_connected: bool },
}

/// What has to be done about one cluster.
pub(super) enum Step {
    /// Connect, for the first time or anew.
    Connect(Box<Config>, Fingerprint),
    /// It belongs to the fleet but cannot be connected, for this reason: nothing that is known of it may go.
    Hold(String),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(..) => "Connect",
            Self::Hold(_) => "Hold",
        })
    }
}

/// The difference between Secrets and members.
#[derive(Debug, Default)]
pub(super) struct MembershipDiff {
    pub(super) steps: BTreeMap<ClusterName, Step>,
    /// Members that no Secret registers any more.
    pub(super) missing: BTreeSet<ClusterName>,
    /// Clusters that leave as soon as they are missing.
    pub(super) leaving: BTreeSet<ClusterName>,
    /// By Secret; every Secret is there, most with nothing to say.
    pub(super) notes: BTreeMap<String, Vec<Note>>,
    /// Releases of withheld removals, as the operator wrote them.
    pub(super) releases: BTreeMap<ClusterName, String>,
    /// The namespace of Istio in each cluster that a Secret registers; none where the setting counts.
    pub(super) istio_namespaces: BTreeMap<ClusterName, Option<String>>,
    /// Name of the Secret that registers each cluster.
    pub(super) secrets: BTreeMap<ClusterName, String>,
}

pub(super) fn secret_ref(namespace: &str, name: &str) -> ObjectPath {
    ObjectPath::new(&ClusterName::hub(), ObjectKind::Secret, namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn read(secret: &Value) -> Result<ClusterSecret, NotASecret> {
        ClusterSecret::read(secret, &["http".to_owned(), "local-address".to_owned()])
    }

    const REFERENCE: usize = 0;
    const ISTIO: usize = 1;

    fn kubeconfig(token: &str) -> String {
        json!({"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
               "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
               "users": [{"name": "u", "user": {"token": token}}]})
        .to_string()
    }

    fn secret(name: &str, created: &str, data: &[(&str, &str)]) -> (String, Result<ClusterSecret, NotASecret>) {
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| (*key, ByteString(value.as_bytes().to_vec()))).collect();
        let metadata = json!({"name": name, "creationTimestamp": created});
        (name.to_owned(), read(&json!({"metadata": metadata, "data": data})))
    }

    fn book(reference: Vec<(String, Result<ClusterSecret, NotASecret>)>) -> SecretBook {
        let mut book = SecretBook::default();
        book.reset(REFERENCE, reference.into_iter().collect());
        book.reset(ISTIO, BTreeMap::new());
        book
    }

    fn name(text: &str) -> ClusterName {
        ClusterName::parse(text).unwrap()
    }

    type Members = BTreeMap<ClusterName, Option<Fingerprint>>;

    fn connected(token: &str) -> Option<Fingerprint> {
        Some(Fingerprint::of(kubeconfig(token).as_bytes()))
    }

    fn diff(book: &SecretBook, members: &Members) -> MembershipDiff {
        book.diff(members, &BTreeSet::new(), &BTreeMap::new(), "admiral")
    }

    fn steps(diff: &MembershipDiff) -> Vec<(&str, String)> {
        let steps = diff.steps.iter().map(|(name, step)| (name.as_str(), format!("{step:?}")));
        steps.chain(diff.missing.iter().map(|name| (name.as_str(), "Missing".to_owned()))).collect()
    }

    fn message<'a>(diff: &'a MembershipDiff, secret: &str) -> &'a str {
        let [note] = &diff.notes[secret][..] else { panic!("{:?}", diff.notes[secret]) };
        assert_eq!(note.kind, NoteKind::ClusterRefused);
        assert_eq!(note.object.to_string(), format!("(hub): Secret admiral/{secret}"));
        &note.message
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-02-01T00:00:00Z";

    #[test]
    fn every_data_key_is_a_cluster() {
        let book = book(vec![secret("s", OLD, &[("east", &kubeconfig("a")), ("west", &kubeconfig("b"))])]);
        let diff = diff(&book, &Members::new());
        assert_eq!(steps(&diff), [("east", "Connect".into()), ("west", "Connect".into())]);
        assert!(diff.notes["s"].is_empty());
    }

    #[test]
    fn nothing_is_listed_before_both_labels_are() {
        let mut book = SecretBook::default();
        book.reset(REFERENCE, BTreeMap::new());
        assert!(!book.is_listed());
        book.reset(ISTIO, BTreeMap::new());
        assert!(book.is_listed());
    }

    #[test]
    fn only_a_changed_kubeconfig_reconnects() {
        let book = book(vec![secret("s", OLD, &[("east", &kubeconfig("a")), ("west", &kubeconfig("b"))])]);
        let members = Members::from([(name("east"), connected("a")), (name("west"), connected("old"))]);
        assert_eq!(steps(&diff(&book, &members)), [("west", "Connect".into())]);
    }

    #[test]
    fn the_namespace_of_istio_is_that_of_the_secret_that_registers_the_cluster() {
        let with = |name: &str, created: &str, namespace: &str| {
            let data = BTreeMap::from([("east", ByteString(kubeconfig("a").into_bytes()))]);
            let annotations = json!({"tradewind.io/istio-namespace": namespace});
            let metadata = json!({"name": name, "creationTimestamp": created, "annotations": annotations});
            (name.to_owned(), read(&json!({"metadata": metadata, "data": data})))
        };
        let of = |secrets| diff(&book(secrets), &Members::new()).istio_namespaces[&name("east")].clone();
        assert_eq!(of(vec![with("s", OLD, "mesh")]), Some("mesh".to_owned()));
        assert_eq!(of(vec![with("s", OLD, "mesh"), with("t", NEW, "other")]), Some("mesh".to_owned()));
        assert_eq!(of(vec![with("s", OLD, "")]), None);
        assert_eq!(of(vec![secret("s", OLD, &[("east", &kubeconfig("a"))]), with("t", NEW, "other")]), None);

        let wrong = diff(&book(vec![with("s", OLD, &"Not A Name".repeat(1000))]), &Members::new());
        assert_eq!(steps(&wrong), [("east", "Connect".into())], "the cluster joins all the same");
        assert_eq!(wrong.istio_namespaces.get(&name("east")), None, "what counted before stays");
        let [note] = &wrong.notes["s"][..] else { panic!("{:?}", wrong.notes) };
        assert_eq!(note.kind, NoteKind::ClusterFactInvalid);
        assert!(note.message.contains("Not A Name") && note.message.len() < 300, "{}", note.message);
    }

    #[test]
    fn a_removed_key_or_secret_leaves() {
        let mut book = book(vec![
            secret("s", OLD, &[("east", &kubeconfig("a"))]),
            secret("t", OLD, &[("north", &kubeconfig("n"))]),
        ]);
        let members = Members::from([
            (name("east"), connected("a")),
            (name("north"), connected("n")),
            (name("west"), connected("b")),
        ]);
        assert_eq!(steps(&diff(&book, &members)), [("west", "Missing".into())], "its key is gone");
        book.remove(REFERENCE, "t");
        assert_eq!(steps(&diff(&book, &members)), [("north", "Missing".into()), ("west", "Missing".into())]);
    }

    #[test]
    fn the_older_secret_keeps_a_name_and_the_next_takes_over() {
        let mut book = book(vec![
            secret("a-new", NEW, &[("east", &kubeconfig("new"))]),
            secret("b-old", OLD, &[("east", &kubeconfig("old"))]),
            secret("c-old", OLD, &[("east", &kubeconfig("same age"))]),
        ]);
        let members = Members::from([(name("east"), connected("old"))]);
        let first = diff(&book, &members);
        assert_eq!(steps(&first), []);
        assert!(message(&first, "a-new").contains("the older Secret b-old"));
        assert!(message(&first, "c-old").contains("the older Secret b-old"));
        book.remove(REFERENCE, "b-old");
        book.remove(REFERENCE, "c-old");
        let second = diff(&book, &members);
        assert_eq!(steps(&second), [("east", "Connect".into())]);
        assert!(second.notes["a-new"].is_empty());
    }

    #[test]
    fn a_secret_with_both_labels_is_one_secret() {
        let mut book = book(vec![secret("s", OLD, &[("east", &kubeconfig("a"))])]);
        let (key, same) = secret("s", OLD, &[("east", &kubeconfig("a"))]);
        book.put(ISTIO, key, same);
        let both = diff(&book, &Members::new());
        assert!(both.notes["s"].is_empty());
        book.remove(REFERENCE, "s");
        assert_eq!(steps(&diff(&book, &Members::from([(name("east"), connected("a"))]))), [], "one label is enough");
    }

    #[test]
    fn a_broken_kubeconfig_keeps_the_connection_or_holds_the_name() {
        let book = book(vec![secret("s", OLD, &[("east", "exec: me"), ("west", "")])]);
        let diff = diff(&book, &Members::from([(name("east"), connected("a"))]));
        assert_eq!(steps(&diff), [("west", "Hold".into())], "known to belong to the fleet, so nothing of it may go");
        let [east, west] = &diff.notes["s"][..] else { panic!() };
        assert!(east.message.contains("the last good connection stays"), "{}", east.message);
        assert!(west.message.contains("it is empty. west: it is not watched"), "{}", west.message);
    }

    #[test]
    fn a_refused_cluster_connects_once_its_kubeconfig_is_valid_and_leaves_with_its_secret() {
        let members = Members::from([(name("east"), None)]);
        let repaired = book(vec![secret("s", OLD, &[("east", &kubeconfig("a"))])]);
        assert_eq!(steps(&diff(&repaired, &members)), [("east", "Connect".into())]);
        assert_eq!(steps(&diff(&book(vec![]), &members)), [("east", "Missing".into())]);
    }

    #[test]
    fn secrets_without_data_or_with_strange_keys_harm_nothing_else() {
        let book = book(vec![
            secret("empty", OLD, &[]),
            secret("good", OLD, &[("east", &kubeconfig("a"))]),
            secret("strange", OLD, &[("a b", &kubeconfig("a"))]),
            ("unreadable".to_owned(), read(&json!({"data": {"east": "hunter2 is not base64"}}))),
        ]);
        let diff = diff(&book, &Members::from([(name("west"), connected("b"))]));
        assert_eq!(steps(&diff), [("east", "Connect".into())], "west may be in the unreadable Secret: it stays");
        assert!(message(&diff, "empty").contains("no data"));
        assert!(message(&diff, "strange").contains("\"a b\" is no cluster name"));
        assert!(!message(&diff, "unreadable").contains("hunter2"));
    }

    #[test]
    fn a_secret_that_loses_its_data_keeps_its_clusters_unless_another_registers_them() {
        let members = Members::from([(name("east"), connected("a")), (name("west"), connected("b"))]);
        let registered = ["east", "west"].map(|cluster| (name(cluster), "s".to_owned())).into();
        let with = |others: Vec<_>| {
            let secrets = std::iter::once(secret("s", OLD, &[])).chain(others).collect();
            book(secrets).diff(&members, &BTreeSet::new(), &registered, "admiral")
        };
        let alone = with(vec![]);
        assert_eq!(steps(&alone), []);
        assert!(
            message(&alone, "s")
                .ends_with("east: the last good connection stays. west: the last good connection stays")
        );
        let replaced = with(vec![secret("t", NEW, &[("east", &kubeconfig("new"))])]);
        assert_eq!(steps(&replaced), [("east", "Connect".into())]);
        assert_eq!(replaced.secrets[&name("west")], "s");
    }

    #[test]
    fn a_secret_says_that_its_clusters_leave_with_it() {
        let metadata = |value: &str| json!({"name": "s", "annotations": {"tradewind.io/leaving": value}});
        let data = BTreeMap::from([("east", ByteString(kubeconfig("a").into_bytes()))]);
        let of = |value| {
            let secret = read(&json!({"metadata": metadata(value), "data": data}));
            diff(&book(vec![("s".to_owned(), secret)]), &Members::new()).leaving
        };
        assert_eq!(of("true"), BTreeSet::from([name("east")]));
        assert_eq!(of("yes"), BTreeSet::new());

        let members = Members::from([(name("east"), connected("a"))]);
        let mut book = book(vec![]);
        for (value, leaving) in [("true", true), ("", false)] {
            book.put(REFERENCE, "s".into(), read(&json!({"metadata": metadata(value), "data": data})));
            book.remove(REFERENCE, "s");
            let diff = diff(&book, &members);
            assert_eq!(steps(&diff), [("east", "Missing".into())]);
            assert_eq!(diff.leaving.contains(&name("east")), leaving, "the newest that was read counts");
        }
    }

    #[test]
    fn the_fleet_file_goes_before_secrets() {
        let book = book(vec![secret("s", OLD, &[("east", &kubeconfig("a"))])]);
        let diff = book.diff(&Members::new(), &BTreeSet::from([name("east")]), &BTreeMap::new(), "admiral");
        assert_eq!(steps(&diff), []);
        assert!(message(&diff, "s").contains("the fleet file"));
    }

    #[test]
    fn releases_reach_every_cluster_of_their_secret() {
        let (key, secret) = secret("s", OLD, &[("east", &kubeconfig("a")), ("west", "broken: [")]);
        let secret = secret.map(|secret| ClusterSecret { release: Some("2026-03-01".into()), ..secret });
        let diff = diff(&book(vec![(key, secret)]), &Members::new());
        let release = "2026-03-01".to_owned();
        assert_eq!(diff.releases, BTreeMap::from([(name("east"), release.clone()), (name("west"), release)]));
    }

    #[test]
    fn the_release_is_read_from_its_annotation() {
        let metadata = json!({"name": "s", "annotations": {"tradewind.io/release-removals": "now"}});
        assert_eq!(read(&json!({"metadata": metadata})).unwrap().release.as_deref(), Some("now"));
    }
}
