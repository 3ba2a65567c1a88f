//! Whether two ways to plan a case came to the same.

use std::fmt::Write as _;

use tradewind::model::{Note, NoteKind};

use crate::planning::Picture;

/// What two ways to one state must have in common.
///
/// # Errors
/// With the difference.
pub fn same(how: &str, found: &Picture, wanted: &Picture) -> Result<(), String> {
    // Notes about files come from the backend, those about addresses only when an address changes, and those about gained
    // namespaces only where the namespace came after the first reading.
    let lasting = |notes: &[Note]| -> Vec<Note> {
        let passing = [
            NoteKind::ClusterUnreachable,
            NoteKind::ObjectMalformed,
            NoteKind::AddressConflict,
            NoteKind::IdentityGainedNamespace,
        ];
        notes.iter().filter(|note| !passing.contains(&note.kind)).cloned().collect()
    };
    if (&found.objects, &found.merged, &found.endpoints, lasting(&found.notes))
        == (&wanted.objects, &wanted.merged, &wanted.endpoints, lasting(&wanted.notes))
    {
        return Ok(());
    }
    Err(format!("{how}, the result is another:\n{}", diff(&as_text(wanted), &as_text(found))))
}

fn as_text(picture: &Picture) -> String {
    let mut text = format!("{:#?}\n{}\n{:#?}\n", picture.endpoints, notes(&picture.notes), picture.merged);
    for ((cluster, _), object) in &picture.objects {
        let _ = writeln!(text, "# {cluster}\n{}", yaml(&object.manifest()));
    }
    text
}

pub fn diff(wanted: &str, found: &str) -> String {
    similar::TextDiff::from_lines(wanted, found).unified_diff().header("wanted", "found").to_string()
}

pub fn yaml(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).expect("plain data is YAML")
}

pub fn notes(notes: &[Note]) -> String {
    let line = |note: &Note| {
        let service = note.service.as_ref().map(|key| format!(" [{key}]")).unwrap_or_default();
        format!("{}: {}{service}\n  {}\n", note.kind.code(), note.object, note.message)
    };
    notes.iter().map(line).collect()
}
