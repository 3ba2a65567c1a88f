//! Settings with one of a few words as value.

/// Declares an enum of words: the first one is the default; the words after `|` are accepted as well.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            $(#[doc = $first_doc:literal])+
            $first:ident = $first_word:literal $(| $first_alias:literal)*,
            $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal $(| $alias:literal)*,)+
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name {
            $(#[doc = $first_doc])+
            #[default]
            $first,
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $name {
            /// The word in files, flags and variables.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { Self::$first => $first_word, $(Self::$variant => $word),+ }
            }
        }

        impl super::value::Value for $name {
            const FORM: super::value::Form = super::value::Form::One;
            const PLACEHOLDER: &'static str = concat!($first_word, $("|", $word),+);
            const WORDS: &'static [(&'static str, &'static str)] = &[
                ($first_word, concat!($($first_doc),+).trim_ascii()),
                $(($word, concat!($($meaning),+).trim_ascii())),+
            ];

            fn read(items: &[&str]) -> Result<Self, super::value::Refusal> {
                match super::value::single(items)? {
                    $first_word $(| $first_alias)* => Ok(Self::$first),
                    $($word $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err(super::value::Refusal::not_allowed()),
                }
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    )+};
}

words! {
    /// Which clusters get a service that no Dependency names.
    WithoutDependency {
        /// Every cluster.
        All = "all",
        /// Only clusters that run it, as in Admiral.
        None = "none",
    }

    /// What the IdentityClaims on the hub decide.
    IdentityClaims {
        /// None: claims are not read. Every workload with an identity counts for it, as in Admiral.
        Off = "off",
        /// Notes only: they name what `enforce` would exclude.
        Warn = "warn",
        /// Only claimed workloads and policies count. Identities without a claim are excluded.
        Enforce = "enforce",
    }

    /// Which namespaces may run an identity that no claim decides.
    IdentityNamespaces {
        /// All, as in Admiral. A new namespace of an identity gets a note.
        Open = "open",
        /// The first ones: workloads and policies of later namespaces do not count.
        First = "first",
    }

    /// Which workloads have a sidecar, and so count.
    SidecarInjection {
        /// Those that Istio's webhook injects, by the labels of pods and Namespaces; the annotation `deploymentAnnotation` and `sidecar.istio.io/inject` count too.
        Istio = "istio",
        /// As `istio`, and all others in namespaces without injection label: for Istio's `enableNamespacesByDefault`.
        AllNamespaces = "all-namespaces",
        /// Those whose pod template has the annotation `deploymentAnnotation`, as in Admiral.
        Annotation = "annotation",
    }

    /// How weighted policies are written.
    Weights {
        /// Weights on endpoints, with fallback regions.
        Tiers = "tiers",
        /// Admiral's form: `distribute`, without fallback.
        Distribute = "distribute",
    }

    /// Source of subject names.
    SanSource {
        /// The identity, as in Admiral.
        Identity = "identity",
        /// The service accounts of the service's workloads, as in Istio's certificates.
        ServiceAccounts = "service-accounts",
    }

    /// Which ports of a Service are published.
    PublishedPorts {
        /// The main port as 80, every further one under its own number.
        All = "all",
        /// The main port alone, as in Admiral.
        Main = "main",
    }

    /// Source of virtual addresses.
    AddressSource {
        /// Tradewind allocates them from its range.
        Tradewind = "tradewind",
        /// Istio allocates them itself.
        Istio = "istio",
    }

    /// How Sidecars of client namespaces are changed.
    Sidecars {
        /// Not at all.
        Off = "off" | "disabled",
        /// A namespace's Sidecar with the name `workloadSidecarName` gets additional hosts.
        Merge = "merge" | "enabled",
        /// A namespace without a Sidecar gets one.
        Own = "own",
    }

    /// Which VirtualServices and DestinationRules of users are copied into the other clusters.
    Propagate {
        /// Those for hosts that Tradewind publishes, from the namespaces that run the service, and those with the label `tradewind.io/propagate: "true"` that `propagateHosts` allows.
        Published = "published",
        /// Only those with the label.
        Labelled = "labelled",
        /// None.
        Off = "off",
    }

    /// What happens to the objects in a cluster that leaves the fleet.
    RemovedCluster {
        /// They remain.
        Leave = "leave",
        /// They are deleted.
        Clean = "clean",
    }

    /// How requests are balanced among the pods of a Service.
    LbPolicy {
        /// One after the other.
        RoundRobin = "round_robin" | "ROUND_ROBIN",
        /// At random.
        Random = "random" | "RANDOM",
        /// To the address that the client asked for.
        Passthrough = "passthrough" | "PASSTHROUGH",
        /// To the pod with the fewest active requests.
        LeastRequest = "least_request" | "LEAST_REQUEST",
    }

    /// Level of logs. Admiral's numbers 0 to 6 are accepted too.
    LogLevel {
        /// Events of interest to operators, and warnings.
        Info = "info" | "4",
        /// Errors that stop an operation.
        Error = "error" | "0" | "1" | "2",
        /// Problems of one object or cluster, and errors.
        Warn = "warn" | "3",
        /// Every decision.
        Debug = "debug" | "5",
        /// Every event.
        Trace = "trace" | "6",
    }

    /// Format of log lines.
    LogFormat {
        /// Human-readable text.
        Text = "text",
        /// One JSON object per line, for log stores.
        Json = "json",
    }
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value as _;

    #[test]
    fn admirals_words_are_accepted_and_shown_as_tradewinds() {
        assert_eq!(Sidecars::read(&["enabled"]).unwrap().show(), "merge");
        assert_eq!(Sidecars::read(&["disabled"]).unwrap().show(), "off");
        let levels: Vec<_> = ["0", "1", "2", "3", "4", "5", "6"]
            .map(|number| LogLevel::read(&[number]).unwrap().as_str())
            .into_iter()
            .collect();
        assert_eq!(levels, ["error", "error", "error", "warn", "info", "debug", "trace"]);
        assert!(LogLevel::read(&["7"]).is_err());
    }
}
