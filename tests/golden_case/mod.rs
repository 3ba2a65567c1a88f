//! Golden cases: one text file each, `tests/golden/TOPIC/CASE.txtar`. `tests/golden/README.md` says how to read and write them.

#![allow(dead_code, reason = "each test uses its part")]

pub mod fleet;
pub mod notation;
pub mod same;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use notation::Notation;
use serde::Deserialize;
use serde_json::Value;

/// Directory of the shared manifests, beside the topics.
const COMMON: &str = "common";
const EXTENSION: &str = "txtar";
const ADMIRAL: &str = "admiral";
/// Begins what is generated.
pub const PLANNED: &str = "planned";

/// What stands above the first manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What the case shows, for people.
    pub shows: String,
    /// Shared manifests: files of `tests/golden/common`, or directories of the repository (with a slash). A later one, and
    /// the case itself, replaces files of the same name.
    #[serde(default)]
    include: Vec<String>,
    /// Settings other than the defaults, as in the settings file.
    #[serde(default)]
    settings: Value,
    /// The namespace of Istio in single clusters, as annotations of their Secrets say it.
    #[serde(default, rename = "istioNamespaces")]
    pub istio_namespaces: BTreeMap<String, String>,
    /// Set where who comes first decides, by design: then events one at a time may end otherwise.
    #[serde(default, rename = "firstCome")]
    pub first_come: bool,
    /// Whose CRDs the clusters have: Tradewind's, or some that check nothing, as those of Admiral.
    #[serde(default)]
    pub crds: Crds,
    /// Manifests that an editor on Windows wrote: with a byte order mark, and CRLF at the ends of lines.
    #[serde(default, rename = "byteOrderMarkAndCrlf")]
    byte_order_mark_and_crlf: Vec<String>,
    /// Whether the planned objects are written out whole, too.
    #[serde(default, rename = "wholeObjects")]
    pub whole_objects: bool,
    /// Differences from Admiral: reason → paths.
    #[serde(default)]
    pub admiral: BTreeMap<String, Vec<String>>,
}

/// See [`Head::crds`].
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crds {
    /// `crds/`.
    #[default]
    Checked,
    /// As Admiral's, which accept anything.
    Unchecked,
}

/// One golden case.
pub struct Case {
    /// `TOPIC/CASE`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its head.
    pub head: Head,
    /// What Admiral writes, in the notation.
    pub admiral: Option<String>,
    /// All that is written by hand, as text.
    by_hand: String,
    /// Its manifests, by `CLUSTER/FILE`.
    manifests: BTreeMap<String, String>,
    /// All that is generated, from the line `-- planned --` on.
    pub generated: String,
}

/// The directory of all cases.
pub fn root() -> PathBuf {
    repository().join("tests/golden")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of all cases, sorted.
pub fn paths() -> Vec<PathBuf> {
    let topics = sorted(&root()).into_iter().filter(|topic| topic.is_dir() && !topic.ends_with(COMMON));
    let files: Vec<_> = topics.flat_map(|topic| sorted(&topic)).collect();
    let is_case = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION);
    let strangers: Vec<_> = files.iter().filter(|path| !is_case(path)).collect();
    assert!(strangers.is_empty(), "not cases: {strangers:?}");
    assert!(!files.is_empty(), "no golden cases found");
    files
}

/// `TOPIC/CASE`, by the path of its file.
pub fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).expect("cases are below the root").with_extension("").display().to_string()
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<_> = entries.map(|entry| entry.expect("can be listed").path()).collect();
    // `a` comes before `a-b`, whatever their extensions.
    found.sort_by_key(|path| path.with_extension(""));
    found
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl Case {
    /// Reads a case.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(path, &read(path)?).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Reads the text of a case; its name comes from the path.
    pub fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let marker = format!("-- {PLANNED} --\n");
        let end = text.find(&format!("\n{marker}")).map_or(text.len(), |at| at + 1);
        let (by_hand, generated) = text.split_at(end);
        let (head, files) = sections(by_hand);
        let head: Head = serde_saphyr::from_str(head).map_err(|error| error.to_string())?;
        if head.shows.trim().is_empty() {
            return Err("`shows:` says nothing".to_owned());
        }
        let (mut manifests, mut admiral) = (BTreeMap::new(), None);
        for (name, text) in files {
            let known = if name == ADMIRAL {
                admiral.replace(text.to_owned()).is_none()
            } else if name.split('/').count() == 2 && name.split('/').all(|part| !part.is_empty()) {
                manifests.insert(name.to_owned(), text.to_owned()).is_none()
            } else {
                return Err(format!("{name:?} is neither CLUSTER/FILE nor {ADMIRAL:?}"));
            };
            if !known {
                return Err(format!("{name:?} is there twice"));
            }
        }
        for name in &head.byte_order_mark_and_crlf {
            let text = manifests.get_mut(name).ok_or_else(|| format!("there is no {name:?}"))?;
            *text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        }
        let (by_hand, generated) = (by_hand.to_owned(), generated.to_owned());
        Ok(Self { name: name_of(path), path: path.to_owned(), head, admiral, by_hand, manifests, generated })
    }

    /// Writes the manifests, shared and own, into a directory: one directory per cluster, as a fleet is read from.
    pub fn unpack(&self, into: &Path) -> Result<(), String> {
        for name in &self.head.include {
            if name.contains('/') {
                copy_clusters(&repository().join(name), into)?;
            } else {
                let text = read(&root().join(COMMON).join(name).with_extension(EXTENSION))?;
                sections(&text).1.into_iter().for_each(|(name, text)| write_below(into, name, text));
            }
        }
        self.manifests.iter().for_each(|(name, text)| write_below(into, name, text));
        Ok(())
    }

    /// The settings, as the text of a settings file.
    pub fn settings(&self) -> String {
        if self.head.settings.is_null() { String::new() } else { self.head.settings.to_string() }
    }

    /// Writes the case anew, with another generated part.
    pub fn rewrite(&self, generated: &str) -> Result<(), String> {
        fs::write(&self.path, format!("{}{generated}", self.by_hand)).map_err(|error| error.to_string())
    }

    /// The whole objects that are planned, by cluster, read from the notation.
    pub fn objects(&self) -> Result<BTreeMap<String, Vec<Value>>, String> {
        let (_, sections) = sections(&self.generated);
        let planned = sections.into_iter().find_map(|(name, text)| (name == PLANNED).then_some(text));
        let parsed = Notation::tradewind().parse(planned.unwrap_or_default());
        let mut objects = BTreeMap::<String, Vec<Value>>::new();
        for (cluster, object) in parsed.map_err(|why| format!("{}: {why}", self.name))? {
            objects.entry(cluster).or_default().push(object);
        }
        Ok(objects)
    }
}

/// Before the cluster's name in sections of whole objects.
const WHOLE: &str = "objects/";

/// A section of the generated part.
pub fn section(name: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("-- {name} --\n{text}") }
}

/// The section of a cluster's whole objects.
pub fn whole_section(cluster: &str, objects: &[Value]) -> String {
    let mut text = String::new();
    for object in objects {
        let separator = if text.is_empty() { "" } else { "---\n" };
        let yaml = serde_saphyr::to_string(object).expect("plain data is YAML");
        let _ = write!(text, "{separator}{yaml}");
    }
    section(&format!("{WHOLE}{cluster}.yaml"), &text)
}

/// The text above the first `-- NAME --`, and what follows each.
pub fn sections(text: &str) -> (&str, Vec<(&str, &str)>) {
    let (mut head, mut found) = (text, Vec::<(&str, &str)>::new());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        if let Some(name) = line.strip_prefix("-- ").and_then(|line| line.trim_end().strip_suffix(" --")) {
            match found.last_mut() {
                Some((_, last)) => *last = &last[..last.len() - (text.len() - begin)],
                None => head = &text[..begin],
            }
            found.push((name, &text[at..]));
        }
    }
    (head, found)
}

fn copy_clusters(from: &Path, into: &Path) -> Result<(), String> {
    for cluster in sorted(from).into_iter().filter(|path| path.is_dir()) {
        for file in sorted(&cluster) {
            let name = file.strip_prefix(from).expect("is below it").display().to_string();
            write_below(into, &name, &read(&file)?);
        }
    }
    Ok(())
}

fn write_below(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("is below the directory")).expect("can be made");
    fs::write(path, text).expect("can be written");
}
