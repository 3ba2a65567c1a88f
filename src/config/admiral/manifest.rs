//! Admiral's command line out of its Deployment manifest.

use serde_json::Value;

/// Why a manifest gives no command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not YAML.
    #[error("is not YAML: {0}")]
    Yaml(String),
    /// No container of Admiral in it.
    #[error(
        "holds no Deployment with a container of Admiral: neither one whose name is \"admiral\" nor one whose image is named so"
    )]
    NoContainer,
    /// More than one container of Admiral.
    #[error("holds {0} containers of Admiral; give one of them")]
    Several(usize),
    /// An argument that is only known when the pod runs.
    #[error("the argument {argument:?} refers to {variable}, whose value is not in the manifest; put it in by hand")]
    Variable {
        /// The argument.
        argument: String,
        /// The variable's name.
        variable: String,
    },
}

/// The arguments of Admiral's container in a manifest of any number of documents, with what follows the program
/// in its `command` before them.
///
/// # Errors
/// When there is no such container, or more than one, or an argument is not known.
pub fn arguments_of(text: &str) -> Result<Vec<String>, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(error.to_string()))?;
    let objects = documents.iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.iter().collect(),
        None => vec![document],
    });
    let deployments = objects.filter(|object| object["kind"] == "Deployment");
    let containers = deployments.flat_map(|deployment| array(&deployment["spec"]["template"]["spec"]["containers"]));
    let containers: Vec<&Value> = containers.filter(|container| is_admiral(container)).collect();
    match containers[..] {
        [] => Err(ManifestError::NoContainer),
        [container] => arguments(container),
        _ => Err(ManifestError::Several(containers.len())),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_admiral(container: &Value) -> bool {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    container["name"] == "admiral" || name.split(':').next() == Some("admiral")
}

fn arguments(container: &Value) -> Result<Vec<String>, ManifestError> {
    // A number or a boolean without quotes is refused by Kubernetes; here it counts as its text.
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let command = array(&container["command"]).iter().skip(1);
    let words = command.chain(array(&container["args"])).map(text);
    words.map(|word| expanded(&word, container)).collect()
}

/// With `$(NAME)` replaced as Kubernetes does, where the value is in the manifest.
fn expanded(word: &str, container: &Value) -> Result<String, ManifestError> {
    let (mut text, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('$') {
        let (before, behind) = rest.split_at(at);
        text.push_str(before);
        if let Some(behind) = behind.strip_prefix("$$") {
            text.push('$');
            rest = behind;
        } else if let Some((name, behind)) = behind.strip_prefix("$(").and_then(|behind| behind.split_once(')')) {
            match array(&container["env"]).iter().find(|variable| variable["name"] == name) {
                Some(variable) if variable["value"].is_string() || variable["valueFrom"].is_null() => {
                    text.push_str(variable["value"].as_str().unwrap_or_default());
                }
                None if array(&container["envFrom"]).is_empty() => text.push_str(&format!("$({name})")),
                _ => return Err(ManifestError::Variable { argument: word.to_owned(), variable: name.to_owned() }),
            }
            rest = behind;
        } else {
            text.push('$');
            rest = &behind[1..];
        }
    }
    Ok(text + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(text: &str) -> Result<Vec<String>, ManifestError> {
        let spec = format!("{{template: {{spec: {{containers: [{text}]}}}}}}");
        arguments_of(&format!("kind: Service\n---\n---\nkind: Deployment\nspec: {spec}\n---\n"))
    }

    #[test]
    fn the_container_is_known_by_its_name_or_its_image() {
        let words = Ok(vec!["--env_key".to_owned(), "x".to_owned()]);
        assert_eq!(container("{name: admiral, args: [--env_key, x]}"), words);
        let by_image = "{name: a, image: registry.example:5000/mesh/admiral:v2.9@sha256:0, args: [--env_key, x]}";
        assert_eq!(container(by_image), words);
        assert_eq!(container("{name: admiral, command: [/admiral, --env_key], args: [x]}"), words);
        let list = "kind: List\nitems: [{kind: Deployment, spec: {template: {spec: {containers: [{name: admiral, args: [--env_key, x]}]}}}}]\n";
        assert_eq!(arguments_of(list), words);
    }

    #[test]
    fn what_gives_no_command_line_is_refused() {
        assert_eq!(container("{name: other, image: other/admiral-proxy}"), Err(ManifestError::NoContainer));
        assert_eq!(container("{name: admiral}, {name: admiral}"), Err(ManifestError::Several(2)));
        assert!(matches!(arguments_of("a: ["), Err(ManifestError::Yaml(_))));
        let secret = "{name: admiral, args: [--env_key=$(KEY)], env: [{name: KEY, valueFrom: {fieldRef: {}}}]}";
        assert!(container(secret).unwrap_err().to_string().contains("refers to KEY"));
    }

    #[test]
    fn variables_of_the_manifest_are_put_in() {
        let env = "env: [{name: A, value: x}]";
        let words = container(&format!("{{name: admiral, args: [\"$(A)-$(B)-$$(A)-$\"], {env}}}"));
        assert_eq!(words, Ok(vec!["x-$(B)-$(A)-$".to_owned()]));
    }
}
