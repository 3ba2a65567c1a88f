//! The objects of a document: one, those of a list, those of lists in lists.
//!
//! An item of a typed list that has neither `apiVersion` nor `kind` takes them from its list, as kubectl reads it
//! (`k8s.io/apimachinery`, `unstructuredJSONScheme.decodeToList`).

use serde_json::Value;

use super::kinds::{Mistyped, Typed, typed, untyped};

/// Deepest nesting of lists.
const MAX_DEPTH: usize = 16;

/// One object of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DocumentObject {
    /// Where it is in the document, such as `items[3]`; empty for the document itself.
    pub(crate) path: String,
    /// What it is.
    pub(crate) typed: Typed,
    /// The object.
    pub(crate) value: Value,
}

/// The objects of a document, in order.
pub(crate) fn parts(document: Value) -> Vec<DocumentObject> {
    let mut parts = Vec::new();
    take(document, String::new(), None, 0, &mut parts);
    parts
}

/// The type of the items of a list.
#[derive(Clone)]
struct ItemType {
    api_version: String,
    kind: String,
}

fn take(mut value: Value, path: String, of_list: Option<&ItemType>, depth: usize, parts: &mut Vec<DocumentObject>) {
    if depth > MAX_DEPTH {
        let typed = wrong("", "lists are nested too deeply");
        return parts.push(DocumentObject { path, typed, value });
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                take(item, format!("{path}[{index}]"), of_list, depth + 1, parts);
            }
            return;
        }
        // An empty item of a list.
        Value::Null if !path.is_empty() => {
            return parts.push(DocumentObject {
                path,
                typed: wrong("", "this item of the list is empty; remove it"),
                value,
            });
        }
        _ => {}
    }
    let has = |field: &str| value.get(field).is_some_and(|value| !value.is_null());
    if let Some(item) = of_list.filter(|_| value.is_object() && !has("apiVersion") && !has("kind")) {
        value["apiVersion"] = item.api_version.as_str().into();
        value["kind"] = item.kind.as_str().into();
    }
    match list_type(&value) {
        None => parts.push(DocumentObject { path, typed: type_of(&value), value }),
        Some(Err(typed)) => parts.push(DocumentObject { path, typed, value }),
        Some(Ok(item_type)) => {
            let of_list = item_type.as_ref();
            match value.get_mut("items").map(Value::take) {
                None | Some(Value::Null) => {}
                Some(Value::Array(items)) => {
                    let below = if path.is_empty() { "items".to_owned() } else { format!("{path}.items") };
                    for (index, item) in items.into_iter().enumerate() {
                        take(item, format!("{below}[{index}]"), of_list, depth + 1, parts);
                    }
                }
                Some(_) => {
                    parts.push(DocumentObject { path, typed: wrong("items", "must be a list of objects"), value })
                }
            }
        }
    }
}

/// The type of the items, where the object is a list: none for a `List`, whose items say it themselves.
fn list_type(value: &Value) -> Option<Result<Option<ItemType>, Typed>> {
    let (api_version, kind) = (text(value, "apiVersion"), text(value, "kind")?);
    let item = kind.strip_suffix("List");
    if let Some(item) = item.filter(|_| value.get("items").is_none()) {
        let is_known = item.is_empty() || matches!(typed(api_version.unwrap_or_default(), item), Typed::Read(_));
        return is_known.then(|| Err(wrong("items", "is missing; write items: [] for an empty list")));
    }
    match item {
        Some("") => Some(match api_version {
            Some("v1") => Ok(None),
            Some(other) => Err(wrong("apiVersion", &format!("{other} has no List; write v1"))),
            None => Err(Typed::Wrong(untyped(None, Some(kind), true))),
        }),
        // The items may lack a type of their own, and then have it from here.
        Some(item) => Some(match api_version {
            Some(api_version) => Ok(Some(ItemType { api_version: api_version.to_owned(), kind: item.to_owned() })),
            None => Err(wrong("apiVersion", "is missing; write that of the items")),
        }),
        None if value["items"].is_array() && kind.to_ascii_lowercase().ends_with("list") => {
            let meant = &kind[..kind.len() - "list".len()];
            Some(Err(wrong("kind", &format!("{kind:?} is no kind; did you mean {meant}List?"))))
        }
        None => None,
    }
}

fn type_of(value: &Value) -> Typed {
    if !value.is_object() {
        let mistyped = Mistyped {
            meant: None,
            is_object: false,
            field: "",
            message: "this is no Kubernetes object: it has no fields".to_owned(),
        };
        return Typed::Wrong(mistyped);
    }
    for field in ["apiVersion", "kind"] {
        if value.get(field).is_some_and(|value| !value.is_null() && !value.is_string()) {
            return wrong(field, "must be a text; put it in quotes");
        }
    }
    match (text(value, "apiVersion"), text(value, "kind")) {
        (Some(api_version), Some(kind)) => typed(api_version, kind),
        (api_version, kind) => {
            let is_object = api_version.is_some() || kind.is_some() || value["metadata"].is_object();
            Typed::Wrong(untyped(api_version, kind, is_object))
        }
    }
}

fn wrong(field: &'static str, message: &str) -> Typed {
    Typed::Wrong(Mistyped { meant: None, is_object: true, field, message: message.to_owned() })
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Kind;

    fn shown(document: Value) -> Vec<(String, String)> {
        let shown = |part: DocumentObject| match part.typed {
            Typed::Read(kind) => (part.path, kind.as_str().to_owned()),
            Typed::Unread => (part.path, "-".to_owned()),
            Typed::Wrong(mistyped) => (part.path, format!("{}: {}", mistyped.field, mistyped.message)),
        };
        parts(document).into_iter().map(shown).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(path, said)| ((*path).to_owned(), (*said).to_owned())).collect()
    }

    fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}})
    }

    #[test]
    fn lists_are_opened_whatever_they_are() {
        let untyped = json!({"metadata": {"name": "a"}});
        assert_eq!(shown(service()), pairs(&[("", "Service")]));
        assert_eq!(
            shown(
                json!({"apiVersion": "v1", "kind": "List", "items": [service(), {"apiVersion": "v1", "kind": "Pod"}]})
            ),
            pairs(&[("items[0]", "Service"), ("items[1]", "-")])
        );
        assert_eq!(
            shown(json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [untyped, service()]})),
            pairs(&[("items[0]", "Deployment"), ("items[1]", "Service")])
        );
        assert_eq!(
            shown(json!({"apiVersion": "admiral.io/v1alpha1", "kind": "GlobalTrafficPolicyList", "items": [untyped]})),
            pairs(&[("items[0]", "GlobalTrafficPolicy")])
        );
        assert_eq!(shown(json!([service(), [service()]])), pairs(&[("[0]", "Service"), ("[1][0]", "Service")]));
        let nested = json!({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ServiceList", "items": [untyped]}]});
        assert_eq!(shown(nested), pairs(&[("items[0].items[0]", "Service")]));
        for empty in [
            json!({"apiVersion": "v1", "kind": "List", "items": null}),
            json!({"apiVersion": "v1", "kind": "ServiceList", "items": []}),
            json!([]),
        ] {
            assert_eq!(shown(empty), pairs(&[]));
        }
        // Those of others stay those of others, and so does what is only called so.
        assert_eq!(
            shown(json!({"apiVersion": "example.com/v1", "kind": "AllowList", "spec": {}})),
            pairs(&[("", "-")])
        );
        assert_eq!(
            shown(json!({"apiVersion": "v1", "kind": "ConfigMapList", "items": [untyped]})),
            pairs(&[("items[0]", "-")])
        );
    }

    #[test]
    fn malformed_lists_are_refused() {
        let said = |document: Value| shown(document).remove(0).1;
        assert_eq!(said(json!({"apiVersion": "v1", "kind": "List", "items": {}})), "items: must be a list of objects");
        assert_eq!(
            said(json!({"apiVersion": "v1", "kind": "ServiceList", "item": []})),
            "items: is missing; write items: [] for an empty list"
        );
        assert_eq!(said(json!({"kind": "List", "items": [service()]})), "apiVersion: is missing; write v1");
        assert_eq!(
            said(json!({"apiVersion": "v2", "kind": "List", "items": []})),
            "apiVersion: v2 has no List; write v1"
        );
        assert_eq!(
            said(json!({"apiVersion": "v1", "kind": "list", "items": [service()]})),
            "kind: \"list\" is no kind; did you mean List?"
        );
        assert_eq!(
            said(json!({"apiVersion": "apps/v1", "kind": "DeploymentLIST", "items": []})),
            "kind: \"DeploymentLIST\" is no kind; did you mean DeploymentList?"
        );
        assert_eq!(said(json!({"apiVersion": "v1", "items": [service()]})).split(';').next(), Some("kind: is missing"));
        assert_eq!(
            said(json!({"kind": "ServiceList", "items": [{}]})),
            "apiVersion: is missing; write that of the items"
        );
        assert_eq!(said(json!([null])), ": this item of the list is empty; remove it");
        // The items of a list that is almost known are told one by one.
        let almost = json!({"apiVersion": "apps/v1", "kind": "DeploymntList", "items": [{"metadata": {}}]});
        assert!(said(almost).contains("did you mean Deployment?"));
        let mut deep = service();
        for _ in 0..20 {
            deep = json!([deep]);
        }
        assert_eq!(said(deep), ": lists are nested too deeply");
    }

    #[test]
    fn what_is_not_an_object_is_reported() {
        let typed = |document: Value| parts(document).remove(0).typed;
        for (document, is_object) in [
            (json!("text"), false),
            (json!(5), false),
            (json!({"replicas": 3}), false),
            (json!({}), false),
            (json!({"metadata": {"name": "a"}}), true),
            (json!({"kind": "Widget"}), true),
            (json!({"apiVersion": 1, "kind": "Service"}), true),
            (json!({"apiVersion": "v1", "kind": ["Service"]}), true),
            (json!({"apiVersion": "v1", "kind": null}), true),
            (json!({"apiVersion": "", "kind": "Service"}), true),
        ] {
            let Typed::Wrong(mistyped) = typed(document.clone()) else { panic!("{document}") };
            assert_eq!(mistyped.is_object, is_object, "{document}: {}", mistyped.message);
        }
        let Typed::Wrong(mistyped) = typed(json!({"kind": "Service", "metadata": {}})) else { panic!("no type") };
        assert_eq!(mistyped.meant, Some(Kind::Service));
    }
}
