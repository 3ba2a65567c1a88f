//! From Admiral's flags to a settings file.
//!
//! Decides which settings do what an instance of Admiral does that was started with given flags, and why every
//! other flag has no counterpart. Writes nothing and starts nothing.

mod flag_error;
mod flags;
mod manifest;
mod mapped;
mod page;
mod words;

use std::{collections::BTreeMap, fmt, fmt::Write as _};

use flag_error::FlagError;
use flags::{FLAGS, Flag, Otherwise};
pub use manifest::{ManifestError, arguments_of};
pub use page::admiral_flags_page;
use words::Takes;

use super::{
    KUBECONFIG_RISKS, PublishedPorts, RouteGrants, SidecarInjection, Weights, WithoutDependency,
    rules::RULES,
    table::{Setting, Settings, TABLE},
    value::Form,
};
use crate::model::Kind;

/// Everything that is wrong with Admiral's flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AdmiralFlagErrors(Vec<String>);

impl AdmiralFlagErrors {
    /// All of it, each with the flag it is about.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for AdmiralFlagErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these flags cannot be Admiral's")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// The value of every flag, given or by default.
#[derive(Debug, Default)]
struct Values(BTreeMap<&'static str, Vec<String>>);

impl Values {
    fn text(&self, flag: &str) -> &str {
        self.0.get(flag).and_then(|value| value.first()).map(String::as_str).unwrap_or_default()
    }
}

/// What becomes of a flag.
enum Fate {
    Same(&'static Setting),
    Mapped(&'static str, mapped::Mapping),
    Nothing(String),
}

fn fate(flag: &Flag) -> Fate {
    let setting = TABLE.iter().find(|setting| setting.reference == Some(flag.name));
    match (flag.otherwise, setting) {
        (Otherwise::Mapped(words, mapping), _) => Fate::Mapped(words, mapping),
        (_, Some(setting)) => Fate::Same(setting),
        (Otherwise::Setting, None) => unreachable!("a test holds that a setting names it"),
        (Otherwise::NoEffect, None) => Fate::Nothing("without effect in Admiral too".into()),
        (Otherwise::NotNeeded(why), None) => Fate::Nothing(format!("not needed: {why}")),
        (Otherwise::Off(why), None) => Fate::Nothing(format!("not here: {why}")),
    }
}

/// The settings file that does what Admiral does when it is started with these words. With `strict` it also gives up
/// what Tradewind does beyond Admiral, so that the same objects are written.
///
/// # Errors
/// With every unknown flag, value that is not of its type or refused by Tradewind, and contradiction.
pub fn from_admiral(words: &[String], strict: bool) -> Result<String, AdmiralFlagErrors> {
    let program = words.first().is_some_and(|word| word.rsplit('/').next() == Some("admiral"));
    let given = words::read(&words[usize::from(program)..]);
    let mut problems = given.problems;
    let mut values = Values::default();
    for flag in FLAGS {
        let texts = given.flags.iter().find(|(of, _)| of.name == flag.name).map(|(_, texts)| texts.clone());
        let value = match texts {
            None if flag.takes == Takes::Map && flag.default.is_empty() => Ok(Vec::new()),
            texts => flag.takes.read(&texts.unwrap_or_else(|| vec![flag.default.to_owned()])),
        };
        match value {
            Ok(value) => drop(values.0.insert(flag.name, value)),
            Err(why) => problems.push(format!("--{}: {why}", flag.name)),
        }
    }
    if !problems.is_empty() {
        return Err(AdmiralFlagErrors(problems));
    }

    let mut file = SettingsFile::default();
    for flag in FLAGS {
        let was_given = given.flags.iter().any(|(of, _)| of.name == flag.name);
        if let Err(why) = file.take(flag, &values, was_given) {
            problems.push(format!("--{}: {why}", flag.name));
        }
    }
    for word in &given.stray {
        let hint = "a word without a flag, which Admiral ignores; a switch takes its value behind a =";
        file.remarks.push((word.clone(), hint.into()));
    }
    if strict {
        file.be_strict();
    }
    for rule in RULES.iter().filter(|rule| (rule.broken)(&file.settings)) {
        let keys: Vec<&str> = rule.fields.iter().map(|field| &*Setting::of(field).key).collect();
        problems.push(format!("{}: {}", keys.join(", "), rule.why));
    }
    if problems.is_empty() { Ok(file.text(strict)) } else { Err(AdmiralFlagErrors(problems)) }
}

/// The settings file while it is made.
#[derive(Default)]
struct SettingsFile {
    settings: Settings,
    /// What there is to say about a setting, by field.
    comments: BTreeMap<&'static str, &'static str>,
    /// Flags without counterpart, and why.
    remarks: Vec<(String, String)>,
    /// Flags that say what is the default here.
    as_default: Vec<&'static str>,
}

impl SettingsFile {
    fn take(&mut self, flag: &'static Flag, values: &Values, was_given: bool) -> Result<(), FlagError> {
        let value = values.0.get(flag.name).map(Vec::as_slice).unwrap_or_default();
        let setting = match fate(flag) {
            Fate::Same(setting) => {
                set(setting, &mut self.settings, &adapted(flag.takes, setting.form, value))?;
                setting
            }
            Fate::Mapped(_, mapping) => {
                let became = mapping(value, values)?;
                if let Some(remark) = became.remark.filter(|_| was_given) {
                    self.remarks.push((flag.name.into(), remark.into()));
                }
                let Some((field, text)) = became.setting else { return Ok(()) };
                let setting = Setting::of(field);
                let items = text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect();
                let texts = if setting.form == Form::Many { items } else { vec![text] };
                set(setting, &mut self.settings, &texts)?;
                setting
            }
            Fate::Nothing(why) => {
                if was_given {
                    self.remarks.push((flag.name.into(), why));
                }
                return Ok(());
            }
        };
        match (was_given, self.differs(setting)) {
            (true, false) => self.as_default.push(flag.name),
            (false, true) => drop(self.comments.insert(setting.field, "Admiral's default, which is not Tradewind's.")),
            _ => {}
        }
        Ok(())
    }

    fn differs(&self, setting: &Setting) -> bool {
        (setting.show)(&self.settings) != (setting.show)(&Settings::default())
    }

    /// Gives up what Tradewind does beyond Admiral.
    fn be_strict(&mut self) {
        self.settings.weights = Weights::Distribute;
        self.comments.insert("weights", "Strict: weights in Admiral's form; unlisted regions get nothing, ever.");
        self.settings.published_ports = PublishedPorts::Main;
        self.comments.insert("published_ports", "Strict: one port per service.");
        self.settings.without_dependency = WithoutDependency::None;
        self.comments.insert("without_dependency", "Strict: a service that no Dependency names stays where it runs.");
        self.settings.endpoint_zones = false;
        self.comments
            .insert("endpoint_zones", "Strict: localities are regions, without the zone that all nodes share.");
        self.settings.workload_kinds.retain(|kind| matches!(kind, Kind::Deployment | Kind::Rollout));
        self.comments.insert("workload_kinds", "Strict: the workload kinds that Admiral knows.");
        self.settings.client_kinds.retain(|kind| *kind != Kind::CronJob);
        self.comments.insert("client_kinds", "Strict: the kinds of clients that Admiral knows.");
        self.settings.allowed_hosts = vec!["*".to_owned()];
        self.comments.insert(
            "allowed_hosts",
            "Strict, and a risk: a web page can resolve its own name to the controller and read the views in a visitor's browser.",
        );
        self.settings.sidecar_injection = SidecarInjection::Annotation;
        self.comments
            .insert("sidecar_injection", "Strict: of all that gives pods a sidecar, the annotation alone counts.");
        self.settings.dotted_environments = true;
        self.comments.insert(
            "dotted_environments",
            "Strict, and a risk: two services whose environments and identities have dots may ask for one host.",
        );
        self.settings.host_rest_hours = 0;
        self.comments.insert(
            "host_rest_hours",
            "Strict, and a risk: who asks for the host of another service has it as soon as that one is gone for a moment.",
        );
        self.settings.routing_policy_namespaces = vec!["*".into()];
        self.comments.insert(
            "routing_policy_namespaces",
            "Strict, and a risk: whoever may write RoutingPolicies in any namespace puts plugins into the clients of all services.",
        );
        self.settings.allow_in_kubeconfigs = KUBECONFIG_RISKS.map(str::to_owned).to_vec();
        self.comments.insert(
            "allow_in_kubeconfigs",
            "Strict, and a risk: whoever may write cluster Secrets sends requests of this process anywhere, also unencrypted.",
        );
        self.settings.propagate_hosts = RouteGrants::all();
        self.comments.insert(
            "propagate_hosts",
            "Strict, and a risk: whoever may write VirtualServices in any namespace routes the hosts of all services in all clusters.",
        );
    }

    fn text(&self, strict: bool) -> String {
        let mut text = String::from("# Settings of Tradewind that do what Admiral does with its flags.\n");
        if !strict {
            text += "# Tradewind also publishes every port, StatefulSets, DaemonSets and machines, counts CronJobs and whatever Istio injects by\n\
                     # labels, shows services that no Dependency names to every cluster, and gives weights a fallback; --strict adds what switches that off.\n";
        }
        for setting in TABLE.iter().filter(|setting| self.differs(setting)) {
            if let Some(comment) = self.comments.get(setting.field) {
                let _ = writeln!(text, "# {comment}");
            }
            let shown = (setting.show)(&self.settings);
            let value = match setting.form {
                Form::Many if shown.is_empty() => "[]".to_owned(),
                Form::Many => format!("[{}]", shown.split(',').map(scalar).collect::<Vec<_>>().join(", ")),
                Form::Switch => shown,
                Form::One => scalar(&shown),
            };
            let _ = writeln!(text, "{}: {value}", setting.key);
        }
        if !self.as_default.is_empty() {
            let _ = writeln!(text, "#\n# The default here too: {}.", self.as_default.join(", "));
        }
        if !self.remarks.is_empty() {
            text += "#\n# Left out:\n";
            for (flag, why) in &self.remarks {
                // A word may hold line breaks, and a comment must not end before it does.
                let _ = writeln!(text, "#   {}: {why}", flag.escape_debug());
            }
        }
        text
    }
}

/// The texts of a flag as a setting of another form takes them.
fn adapted(takes: Takes, form: Form, value: &[String]) -> Vec<String> {
    match (takes, form) {
        (Takes::List | Takes::Map, Form::Many) => {
            let mut items = value.to_vec();
            // Twice is once, to Admiral.
            let mut seen = std::collections::BTreeSet::new();
            items.retain(|item| seen.insert(item.clone()));
            items
        }
        (Takes::List | Takes::Map, _) => vec![value.join(",")],
        (_, Form::Many) => {
            let items = value.iter().flat_map(|text| text.split(',')).map(|item| item.trim().to_owned());
            items.filter(|item| !item.is_empty()).collect()
        }
        _ => value.to_vec(),
    }
}

fn set(setting: &Setting, settings: &mut Settings, texts: &[String]) -> Result<(), FlagError> {
    let items: Vec<&str> = texts.iter().map(String::as_str).collect();
    (setting.set)(settings, &items).map_err(|refusal| FlagError::Refused {
        value: texts.join(","),
        setting: setting.key.to_string(),
        why: refusal.why,
        allowed: setting.allowed().to_string(),
    })
}

/// A text in YAML; quoted wherever some reader might take it for something else than a text.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::{AddressSource, Sidecars, args, load};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The file of these flags, and the settings that it loads as.
    fn made(flags: &[String], strict: bool) -> (String, Settings) {
        let text = from_admiral(flags, strict).unwrap_or_else(|errors| panic!("{errors}"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let flags = clap::Command::new("t").no_binary_name(true).args(args()).get_matches_from([""; 0]);
        let settings = load(Some(file.path()), &flags, |_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        (text, settings)
    }

    /// Admiral's flags with their types and defaults (Admiral, docs/admiral-behaviour.md#flags): S text, B switch,
    /// I number, D duration, L list, M map.
    const REFERENCE: &str = include_str!("reference-flags.txt");

    #[test]
    fn the_table_is_exactly_the_references_flags() {
        let letter = |takes| match takes {
            Takes::Text => 'S',
            Takes::Switch => 'B',
            Takes::Integer => 'I',
            Takes::Duration => 'D',
            Takes::List => 'L',
            Takes::Map => 'M',
        };
        let line = |flag: &Flag| format!("{} {} {}", flag.name, letter(flag.takes), flag.default).trim_end().to_owned();
        let ours: Vec<String> = FLAGS.iter().map(line).collect();
        let reference: Vec<&str> = REFERENCE.lines().collect();
        assert_eq!(ours, reference);
        assert_eq!(reference.len(), 113);
    }

    #[test]
    fn a_setting_names_each_flag_that_counts_on_it_and_every_name_is_a_flag() {
        for flag in FLAGS.iter().filter(|flag| matches!(flag.otherwise, Otherwise::Setting)) {
            assert!(TABLE.iter().any(|setting| setting.reference == Some(flag.name)), "{}", flag.name);
        }
        let related = TABLE.iter().flat_map(|setting| setting.related.split(", ")).filter(|name| !name.is_empty());
        for name in TABLE.iter().filter_map(|setting| setting.reference).chain(related) {
            assert!(flags::named(name).is_some(), "{name} is no flag of Admiral");
        }
    }

    #[test]
    fn without_flags_the_defaults_agree() {
        let (text, settings) = made(&[], false);
        assert_eq!(settings, Settings::default(), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        let (text, strict) = made(&[], true);
        assert_eq!(
            (strict.weights, strict.published_ports, strict.without_dependency),
            (Weights::Distribute, PublishedPorts::Main, WithoutDependency::None),
            "{text}"
        );
        assert!(!strict.endpoint_zones, "{text}");
        assert!(!strict.workload_kinds.contains(&Kind::StatefulSet), "{text}");
        assert_eq!(strict.sidecar_injection, SidecarInjection::Annotation, "{text}");
    }

    /// A value of each flag that is not its default, and that Tradewind takes.
    fn another(flag: &Flag) -> String {
        match (flag.name, flag.takes) {
            ("log_level", _) => "5".into(),
            ("se_ip_prefix", _) => "241.7".into(),
            ("ingress_lb_policy", _) => "random".into(),
            ("workload_sidecar_update", _) => "enabled".into(),
            ("envoy_filter_version", _) => "1.25".into(),
            (_, Takes::Switch) => (flag.default == "false").to_string(),
            (_, Takes::Integer) => "7".into(),
            (_, Takes::Duration) => "20s".into(),
            (_, Takes::List) => "alpha,beta".into(),
            (_, Takes::Map) => "cluster-1=alpha".into(),
            (name, Takes::Text) => format!("other-{}", name.replace('_', "-")),
        }
    }

    #[test]
    fn each_flag_becomes_a_setting_or_a_reason_and_every_file_loads() {
        for flag in FLAGS {
            for strict in [false, true] {
                let (text, settings) = made(&[format!("--{}={}", flag.name, another(flag))], strict);
                let remark = text.contains(&format!("#   {}: ", flag.name));
                let settles = !settings.eq(&made(&[], strict).1);
                assert!(remark || settles, "{}: {text}", flag.name);
                if let Fate::Same(setting) = fate(flag) {
                    assert!(text.lines().any(|line| line.starts_with(&format!("{}: ", setting.key))), "{text}");
                }
            }
        }
    }

    #[test]
    fn all_flags_together_load_and_keep_their_values() {
        let flags: Vec<String> = FLAGS.iter().map(|flag| format!("--{}={}", flag.name, another(flag))).collect();
        let (text, settings) = made(&flags, false);
        assert_eq!((&*settings.hostname_suffix, settings.sidecars), ("other-hostname-suffix", Sidecars::Merge));
        assert_eq!(settings.address_range.to_string(), "241.7.0.0/16");
        assert_eq!((settings.addresses, settings.enable_absolute_fqdn), (AddressSource::Istio, false));
        assert_eq!(settings.exportto_identity_list, ["alpha", "beta"]);
        assert!(text.contains("#   enable_absolute_fqdn_for_local_endpoints: without"), "{text}");
        assert!(text.contains("#   subset_label: without effect in Admiral too"), "{text}");
        assert!(text.contains("#   admiral_state_checker_name: there is no lease"), "{text}");
        assert!(settings.enable_vs_routing && settings.enable_custom_vs_merge && settings.enable_routing_policy);
        assert_eq!(settings.envoy_filter_version, ["1.25"]);
    }

    #[test]
    fn filters_stay_for_the_proxies_that_they_were_for() {
        let (text, settings) = made(&words("--enable_routing_policy --routing_policy_enabled_clusters=*"), false);
        assert_eq!(settings.envoy_filter_version, ["1.17", "1.20"], "{text}");
        assert_eq!(made(&[], false).1.envoy_filter_version, ["any"]);
        let (text, settings) = made(&words("--envoy_filter_version 1.27,1.28"), false);
        assert_eq!(settings.envoy_filter_version, ["1.27", "1.28"], "{text}");
    }

    #[test]
    fn routing_that_writes_nothing_in_admiral_is_left_out() {
        let (text, settings) = made(&words("--enable_vs_routing --enable_custom_vs_merge"), false);
        assert!(!settings.enable_vs_routing && !settings.enable_custom_vs_merge);
        assert!(text.contains("#   enable_vs_routing: without vs_routing_gateways"), "{text}");
        assert!(text.contains("#   enable_custom_vs_merge: without process_vs_created_by"), "{text}");
    }

    #[test]
    fn flags_equal_to_the_default_are_reported_and_not_written() {
        let (text, settings) = made(&words("admiral --gateway_app istio-ingressgateway --sync_period 20s here"), false);
        assert_eq!(settings, Settings::default());
        assert!(text.contains("# The default here too: gateway_app.\n"), "{text}");
        assert!(text.contains("#   sync_period: not needed: "), "{text}");
        assert!(text.contains("#   here: a word without a flag"), "{text}");
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let problems = |text: &str| from_admiral(&words(text), false).unwrap_err().problems().to_vec();
        assert_eq!(
            problems("--hostname-sufix x --max_requests_per_connection many --dns_retries=x"),
            [
                "--hostname-sufix is no flag of Admiral; did you mean --hostname_suffix?",
                "--dns_retries: \"x\" is not a whole number",
                "--max_requests_per_connection: \"many\" is not a whole number",
            ]
        );
        let refused = problems("--sync_namespace=No --se_ip_prefix=240 --exportto_max_namespaces 0");
        assert!(
            refused[0].starts_with("--sync_namespace: \"No\" is refused by syncNamespace; allowed: "),
            "{refused:?}"
        );
        assert!(refused[1].starts_with("--se_ip_prefix: \"240\" is not the first two numbers"), "{refused:?}");
        assert!(refused[2].starts_with("--exportto_max_namespaces: \"0\""), "{refused:?}");
        let same_key = problems("--env_key=identity");
        assert!(same_key.iter().any(|problem| problem.contains("cannot mean two things")), "{same_key:?}");
    }

    #[test]
    fn texts_that_yaml_would_take_for_something_else_are_quoted() {
        let quoted = ["off", "", "*", "a: b", "- x", "#", "240.0.0.0/16", "name"].map(scalar);
        assert_eq!(quoted, ["\"off\"", "\"\"", "\"*\"", "\"a: b\"", "\"- x\"", "\"#\"", "240.0.0.0/16", "name"]);
        let (text, settings) = made(&["--env_key=off".to_owned()], false);
        assert_eq!(settings.env_key, "off", "{text}");
        let (text, _) = made(&["stray\nhostnameSuffix: x".to_owned()], false);
        assert!(!text.lines().any(|line| line.starts_with("hostnameSuffix")), "{text}");
    }
}
