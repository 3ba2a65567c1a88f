//! Joins file, environment and flags into [`Settings`], or reports everything that is wrong with them.
//!
//! A flag wins over a variable, a variable over the file, the file over the default. A value that
//! is refused is refused even where a stronger source overrides it.

use std::{collections::BTreeMap, fmt, path::Path};

use clap::ArgMatches;

use super::{
    file::{self, Content, Text},
    rules::RULES,
    table::{Setting, Settings, TABLE},
    value::{Form, Refusal},
};

/// Farthest a misspelt key may be from the one that is suggested, in edits.
const MAX_SUGGESTION_EDITS: usize = 4;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Where: `settings.yaml:4`, `--flag` or `VARIABLE`; several where settings contradict each other.
    pub place: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<SettingsProblem>);

impl ConfigErrors {
    /// All of it: the file from its top, then variables, flags and contradictions.
    #[must_use]
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings are refused")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Joins the sources. `flags` may offer all settings or some ([`super::args`]); `env` looks up a
/// variable, and an empty one counts as not set.
///
/// # Errors
/// With every unknown key, refused value and contradiction there is.
pub fn load(
    file: Option<&Path>,
    flags: &ArgMatches,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigErrors> {
    let mut loading = Loading::default();
    if let Some(path) = file {
        loading.file(path);
    }
    for setting in &*TABLE {
        if let Some(text) = env(&setting.variable).filter(|text| !text.is_empty()) {
            loading.text(setting, setting.variable.clone(), &[&text]);
        }
    }
    for setting in &*TABLE {
        // Not every command offers every setting, so an unknown argument is not an error here.
        if let Ok(Some(texts)) = flags.try_get_many::<String>(setting.field) {
            loading.text(setting, format!("--{}", setting.flag), &texts.map(String::as_str).collect::<Vec<_>>());
        }
    }
    loading.finish()
}

#[derive(Default)]
struct Loading {
    settings: Settings,
    /// Where each setting's value comes from, by field. Not there: it is the default.
    places: BTreeMap<&'static str, String>,
    problems: Vec<SettingsProblem>,
}

impl Loading {
    fn file(&mut self, path: &Path) {
        let place = |line: usize| format!("{}:{line}", path.display());
        let entries = match file::read(path) {
            Ok(entries) => entries,
            Err(unreadable) => {
                let place = unreadable.line.map_or_else(|| path.display().to_string(), place);
                return self.problem(place, unreadable.why);
            }
        };
        let mut lines = BTreeMap::new();
        for entry in entries {
            let Text { line, text: key } = entry.key;
            if let Some(first) = lines.insert(key.clone(), line) {
                self.problem(place(line), format!("{key} stands in line {first} already; remove one of them"));
                continue;
            }
            let Some(setting) = TABLE.iter().find(|setting| setting.key == key) else {
                self.problem(place(line), unknown(&key));
                continue;
            };
            let items = match entry.content {
                Content::One(item) => vec![item],
                Content::Many(items) if setting.form == Form::Many => items,
                Content::Many(_) => {
                    self.problem(
                        place(line),
                        format!("{key} is one value, not a list; allowed: {}", setting.allowed()),
                    );
                    continue;
                }
                Content::Unusable(why) => {
                    self.problem(place(line), format!("{key}: {why}; allowed: {}", setting.allowed()));
                    continue;
                }
            };
            let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
            match (setting.set)(&mut self.settings, &texts) {
                Ok(()) => {
                    self.places.insert(setting.field, format!("{} {key}", place(line)));
                }
                Err(refusal) => {
                    let line = refusal.item.map_or(line, |item| items[item].line);
                    self.problem(place(line), format!("{key}: {}", refused(setting, &texts, &refusal)));
                }
            }
        }
    }

    /// Takes a value from a flag or a variable. Lists are separated by commas.
    fn text(&mut self, setting: &Setting, place: String, texts: &[&str]) {
        let items: Vec<&str> = match setting.form {
            Form::Many if texts.iter().all(|text| text.trim().is_empty()) => Vec::new(),
            Form::Many => texts.iter().flat_map(|text| text.split(',')).map(str::trim).collect(),
            Form::One | Form::Switch => texts.to_vec(),
        };
        match (setting.set)(&mut self.settings, &items) {
            Ok(()) => {
                self.places.insert(setting.field, place);
            }
            Err(refusal) => self.problem(place, refused(setting, &items, &refusal)),
        }
    }

    fn finish(mut self) -> Result<Settings, ConfigErrors> {
        let broken = RULES.iter().filter(|rule| (rule.broken)(&self.settings));
        let contradictions: Vec<_> = broken
            .map(|rule| SettingsProblem {
                place: rule.fields.iter().map(|field| self.place(field)).collect::<Vec<_>>().join(", "),
                message: rule.why.to_owned(),
            })
            .collect();
        self.problems.extend(contradictions);
        if self.problems.is_empty() { Ok(self.settings) } else { Err(ConfigErrors(self.problems)) }
    }

    /// Where a setting's value comes from, and the value.
    fn place(&self, field: &str) -> String {
        let setting = Setting::of(field);
        let value = (setting.show)(&self.settings);
        match self.places.get(field) {
            Some(place) => format!("{place} ({value:?})"),
            None => format!("{} (default {value:?})", setting.key),
        }
    }

    fn problem(&mut self, place: String, message: String) {
        self.problems.push(SettingsProblem { place, message });
    }
}

fn refused(setting: &Setting, texts: &[&str], refusal: &Refusal) -> String {
    let text = refusal.item.map_or_else(|| texts.join(","), |item| texts[item].to_owned());
    let why = refusal.why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{text:?} is refused{why}; allowed: {}", setting.allowed())
}

fn unknown(key: &str) -> String {
    match suggestion(key) {
        Some(near) => format!("{key} is no setting; did you mean {near}?"),
        None => format!("{key} is no setting; all settings are listed by --help"),
    }
}

/// The key that the author probably intended: written as a flag or variable, named as in Admiral, or misspelt.
fn suggestion(key: &str) -> Option<&'static str> {
    let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
    let key = folded(key.trim_start_matches("TRADEWIND_"));
    // Short keys are near to everything: at most a third of the letters may differ.
    let limit = MAX_SUGGESTION_EDITS.min(key.chars().count() / 3);
    TABLE
        .iter()
        .flat_map(|setting| {
            let reference = setting.reference.into_iter().chain(setting.related.split(", "));
            std::iter::once(&*setting.key).chain(reference).map(move |name| (setting, name))
        })
        .map(|(setting, name)| (strsim::damerau_levenshtein(&key, &folded(name)), &*setting.key))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Command;

    use super::*;
    use crate::{
        config::{Sidecars, args},
        model::Kind,
    };

    fn flags(words: &[&str]) -> ArgMatches {
        Command::new("t").no_binary_name(true).args(args()).try_get_matches_from(words).unwrap()
    }

    /// Loads a file's text (in a file that is shown as `FILE`), flags and variables.
    fn loaded(text: &str, words: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let env = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        load(Some(file.path()), &flags(words), env).map_err(|errors| {
            let name = file.path().display().to_string();
            errors.problems().iter().map(|problem| problem.to_string().replace(&name, "FILE")).collect()
        })
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        assert_eq!(load(None, &flags(&[]), |_| None), Ok(Settings::default()));
        assert_eq!(loaded("", &[], &[]), Ok(Settings::default()));
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let file = "hostnameSuffix: file\nsyncNamespace: file\nsecretNamespace: file\n";
        let variables = [("TRADEWIND_HOSTNAME_SUFFIX", "env"), ("TRADEWIND_SYNC_NAMESPACE", "env")];
        let settings = loaded(file, &["--hostname-suffix", "flag"], &variables).unwrap();
        let found = [
            settings.hostname_suffix,
            settings.sync_namespace,
            settings.secret_namespace,
            settings.dependency_namespace,
        ];
        assert_eq!(found, ["flag", "env", "file", "admiral"]);
    }

    #[test]
    fn every_setting_can_be_given_in_every_source() {
        for setting in &*TABLE {
            let value = match setting.field {
                // Each needs another setting.
                "kubeconfig_context"
                | "additional_endpoint_label_filters"
                | "enable_vs_routing"
                | "enable_custom_vs_merge" => continue,
                "enable_absolute_fqdn_for_local_endpoints" => "false",
                "workload_kinds" => "StatefulSet",
                "client_kinds" => "Job",
                "allow_in_kubeconfigs" => "insecure-tls",
                "address_range" => "241.0.0.0/16",
                "envoy_filter_version" => "1.28",
                _ if setting.placeholder == "CLUSTER=IDENTITY,..." => "cluster-1=payments",
                "routing_policy_paths" => "/opt/plugins",
                _ if setting.placeholder == "NAMESPACE=SUFFIX,..." => "payments=bank.example",
                "listen_address" | "metrics_address" | "health_address" => "127.0.0.1:9",
                _ if setting.form == Form::Switch => "true",
                _ if setting.placeholder == "NUMBER" => "7",
                _ => setting.words.last().map_or("seven", |(word, _)| word),
            };
            let flag = format!("--{}={value}", setting.flag);
            let sources = [
                loaded(&format!("{}: {value}\n", setting.key), &[], &[]),
                loaded("", &[&flag], &[]),
                loaded("", &[], &[(&setting.variable, value)]),
            ];
            for source in sources {
                assert_eq!((setting.show)(&source.unwrap()), value, "{}", setting.key);
            }
        }
    }

    #[test]
    fn a_flag_alone_switches_on_and_can_switch_off() {
        assert!(loaded("", &["--enable-san"], &[]).unwrap().enable_san);
        assert!(!loaded("enableSan: true\n", &["--enable-san=false"], &[]).unwrap().enable_san);
    }

    #[test]
    fn lists_are_yaml_lists_or_separated_by_commas() {
        let kinds = |settings: Result<Settings, _>| settings.unwrap().workload_kinds;
        let expected = [Kind::Deployment, Kind::DaemonSet];
        assert_eq!(kinds(loaded("workloadKinds: [Deployment, daemonset]\n", &[], &[])), expected);
        assert_eq!(kinds(loaded("", &["--workload-kinds", "Deployment, DaemonSet"], &[])), expected);
        assert_eq!(kinds(loaded("", &["--workload-kinds=Deployment", "--workload-kinds=DaemonSet"], &[])), expected);
        assert_eq!(kinds(loaded("", &[], &[("TRADEWIND_WORKLOAD_KINDS", "Deployment,DaemonSet")])), expected);
        assert_eq!(loaded("exporttoIdentityList: []\n", &[], &[]).unwrap().exportto_identity_list, [""; 0]);
        assert_eq!(loaded("", &["--exportto-identity-list="], &[]).unwrap().exportto_identity_list, [""; 0]);
    }

    #[test]
    fn admirals_flags_are_accepted_unchanged() {
        let settings = loaded(
            "",
            &[
                "--hostname_suffix",
                "mesh",
                "--workload_sidecar_update",
                "enabled",
                "--enable_san=true",
                "--log_level",
                "5",
                "--kube_config",
                "/hub",
            ],
            &[],
        )
        .unwrap();
        assert_eq!(
            (&*settings.hostname_suffix, settings.sidecars, settings.enable_san),
            ("mesh", Sidecars::Merge, true)
        );
        assert_eq!(settings.kubeconfig, Some("/hub".into()));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(
            loaded("hostnameSuffix: file\n", &[], &[("TRADEWIND_HOSTNAME_SUFFIX", "")]).unwrap().hostname_suffix,
            "file"
        );
    }

    #[test]
    fn everything_wrong_is_reported_at_once_with_its_place() {
        let file = "\
hostnameSufix: global
maxRemovalPercent: 120
workloadKinds:
  - Deployment
  - Deploymnt
enableSan: maybe
sidecars: of
syncNamespace:
secretNamespace: [a]
addressRange: {from: 1}
writeConcurrency: 0
writeConcurrency: 1
";
        let problems = loaded(
            file,
            &["--env-key", "a b", "--dry-run"],
            &[("TRADEWIND_ADDRESS_RANGE", "240.0.0.0/25"), ("TRADEWIND_READ_ONLY", "true")],
        )
        .unwrap_err();
        let range = "an IPv4 range of /24 or wider, such as 240.0.0.0/16, outside Istio's own 240.240.0.0/16";
        let namespace = "a namespace name: lower-case letters, digits and '-', up to 63 characters";
        assert_eq!(problems, [
            "FILE:1: hostnameSufix is no setting; did you mean hostnameSuffix?".to_owned(),
            "FILE:2: maxRemovalPercent: \"120\" is refused; allowed: a whole number from 0 to 100".into(),
            "FILE:5: workloadKinds: \"Deploymnt\" is refused; allowed: a list of one or more of Deployment, StatefulSet, DaemonSet, Rollout, WorkloadEntry".into(),
            "FILE:6: enableSan: \"maybe\" is refused; allowed: true or false".into(),
            "FILE:7: sidecars: \"of\" is refused; allowed: one of off, merge, own".into(),
            format!("FILE:8: syncNamespace: it has no value; give it one (\"\" for nothing), or remove the key; allowed: {namespace}"),
            format!("FILE:9: secretNamespace is one value, not a list; allowed: {namespace}"),
            format!("FILE:10: addressRange: a mapping stands where a value should; allowed: {range}"),
            "FILE:11: writeConcurrency: \"0\" is refused; allowed: a whole number from 1 to 1000".into(),
            "FILE:12: writeConcurrency stands in line 11 already; remove one of them".into(),
            format!("TRADEWIND_ADDRESS_RANGE: \"240.0.0.0/25\" is refused: it is narrower than /24; allowed: {range}"),
            "--env-key: \"a b\" is refused; allowed: a label key: an optional DNS name and '/', then up to 63 letters, digits, '-', '_' and '.'".into(),
            "TRADEWIND_READ_ONLY (\"true\"), --dry-run (\"true\"): set one of them: both plan and never write, and the second also logs what it would have written".into(),
        ]);
    }

    #[test]
    fn a_contradiction_names_the_line_and_the_default() {
        let problems = loaded("readOnly: false\nkubeconfigContext: hub\n", &[], &[]).unwrap_err();
        assert_eq!(
            problems,
            ["FILE:2 kubeconfigContext (\"hub\"), kubeconfig (default \"\"): a context needs the file that holds it"]
        );
    }

    #[test]
    fn each_kind_of_value_has_values_that_are_refused() {
        for (key, value) in [
            ("hostnameSuffix", "-global"),
            ("syncNamespace", "\"\""),
            ("secretNamespace", "A"),
            ("dependencyNamespace", "a.b"),
            ("addressRange", "fd00::/64"),
            ("addressRange", "240.240.0.0/20"),
            ("addressRange", "240.0.0.1/16"),
            ("exporttoMaxNamespaces", "0"),
            ("maxRequestsPerConnection", "-1"),
            ("defaultWarmupDurationInSeconds", "-1"),
            ("workloadIdentityKey", "app.kubernetes.io/managed-by"),
            ("priorityKey", "a/b/c"),
            ("gatewayApp", "a b"),
            ("workloadKinds", "[]"),
            ("workloadKinds", "[Deployment, Deployment]"),
            ("workloadKinds", "[Service]"),
            ("exporttoIdentityList", "['']"),
            ("seAddressConfigmap", "A"),
            ("workloadSidecarName", "A"),
            ("sanPrefix", "spiffe://x"),
            ("listenAddress", "8080"),
            ("logLevel", "7"),
            ("logFormat", "xml"),
            ("gracefulStopSeconds", "20000"),
            ("removedCluster", "keep"),
            ("maxRemovalFloor", "some"),
            ("dryRun", "1"),
        ] {
            let problems = loaded(&format!("# first\n{key}: {value}\n"), &[], &[]).unwrap_err();
            assert!(problems.len() == 1 && problems[0].starts_with(&format!("FILE:2: {key}: ")), "{problems:?}");
        }
    }

    #[test]
    fn a_refused_value_is_refused_even_where_it_is_overridden() {
        assert_eq!(loaded("maxRemovalPercent: 120\n", &["--max-removal-percent", "10"], &[]).unwrap_err().len(), 1);
    }

    #[test]
    fn suggestions_include_flags_and_admirals_flags() {
        for (key, near) in [
            ("hostname_suffix", Some("hostnameSuffix")),
            ("hostname-suffix", Some("hostnameSuffix")),
            ("TRADEWIND_ENV_KEY", Some("envKey")),
            ("workload_sidecar_update", Some("sidecars")),
            ("disable_ip_generation", Some("addresses")),
            ("enabelSan", Some("enableSan")),
            ("frobnicate", None),
            ("x", None),
        ] {
            assert_eq!(suggestion(key), near, "{key}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_no_yaml_is_one_problem() {
        let missing = load(Some(Path::new("/nowhere/settings.yaml")), &flags(&[]), |_| None).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/settings.yaml: cannot be read"), "{missing}");
        let broken = loaded("a: 1\nb: [x\n", &[], &[]).unwrap_err();
        assert!(broken.len() == 1 && broken[0].contains("is not YAML"), "{broken:?}");
    }

    #[test]
    fn a_command_may_offer_some_of_the_settings() {
        let few =
            Command::new("t").no_binary_name(true).args(args().into_iter().filter(|arg| arg.get_id() == "san_prefix"));
        let settings = load(None, &few.try_get_matches_from(["--san-prefix", "x"]).unwrap(), |_| None).unwrap();
        assert_eq!(settings.san_prefix, "x");
    }
}
