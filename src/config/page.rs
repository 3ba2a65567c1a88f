//! The reference page of settings.

use super::{
    rules::RULES,
    table::{Setting, Settings, TABLE},
};

const INTRODUCTION: &str = "\
<!-- Generated from src/config/table.rs by tests/reference_pages.rs. Do not edit. -->
# Settings

Every setting can be given as a flag, as an environment variable, or in the settings file (YAML, named by
`--config FILE` or `TRADEWIND_CONFIG`). Flags override variables, variables override the file, and the file overrides the defaults.

```yaml
hostnameSuffix: mesh.example.com
workloadKinds: [Deployment, StatefulSet]
weights: tiers
```

- Lists are YAML lists in the file, and separated by commas elsewhere; a list flag may also be repeated.
- `--enable-san` is `--enable-san=true`. The value of such a flag needs the `=`.
- An empty variable counts as not set.
- At the start, Tradewind reports all unknown keys, invalid values and contradictions at once, with their line, flag or
  variable, and exits. It ignores variables that name no setting: Kubernetes sets some that begin with `TRADEWIND_` if a
  Service has that name.
- The last column names Admiral's flag. A flag without brackets has the same meaning and is
  accepted in Admiral's spelling (`--hostname_suffix`); a flag in brackets has the same purpose in another form and is not accepted.

";

/// The reference page of settings, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for rows in TABLE.chunk_by(|one, next| one.section == next.section) {
        page += &format!("## {}\n\n", rows[0].section);
        page +=
            "| Setting | Flag | Variable | Meaning | Allowed | Default | Reference |\n|---|---|---|---|---|---|---|\n";
        rows.iter().for_each(|setting| page += &row(setting));
        page += "\n";
    }
    page += "## Refused together\n\n| Settings | Why |\n|---|---|\n";
    for rule in RULES {
        let keys: Vec<_> = rule.fields.iter().map(|field| format!("`{}`", Setting::of(field).key)).collect();
        page += &format!("| {} | {} |\n", keys.join(", "), rule.why);
    }
    page
}

fn row(setting: &Setting) -> String {
    let allowed = if setting.words.is_empty() {
        setting.allowed()
    } else {
        let words: Vec<_> = setting.words.iter().map(|(word, meaning)| format!("`{word}`: {meaning}")).collect();
        words.join("<br>")
    };
    let default = match (setting.show)(&Settings::default()) {
        text if text.is_empty() => "empty".to_owned(),
        text => format!("`{text}`"),
    };
    let reference = match (setting.reference, setting.related) {
        (Some(name), _) => format!("`{name}`"),
        (None, "") => String::new(),
        (None, related) => format!("(`{related}`)"),
    };
    let cells = [
        format!("`{}`", setting.key),
        format!("`--{}`", setting.flag),
        format!("`{}`", setting.variable),
        setting.meaning.to_owned(),
        allowed,
        default,
        reference,
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_all_columns_of_a_setting() {
        assert_eq!(
            row(Setting::of("sidecars")),
            "| `sidecars` | `--sidecars` | `TRADEWIND_SIDECARS` | How Sidecars of client namespaces are changed. \
             | `off`: Not at all.<br>`merge`: A namespace's Sidecar with the name `workloadSidecarName` gets additional hosts.<br>`own`: A namespace without a Sidecar gets one. \
             | `off` | `workload_sidecar_update` |\n"
        );
    }

    #[test]
    fn every_section_is_on_the_page_once() {
        let page = reference_page();
        let mut sections: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        let all = sections.len();
        sections.sort_unstable();
        sections.dedup();
        assert_eq!(sections.len(), all);
        TABLE.iter().for_each(|setting| assert!(page.contains(&format!("`{}`", setting.key)), "{}", setting.key));
    }
}
