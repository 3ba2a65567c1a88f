//! Why an API server could not be read: in words, and in what it means for the next try.

use std::{error::Error, io, time::Duration};

use kube::core::Status;

use super::body_limit::AnswerTooLarge;
use crate::model::{ReadCause, ReadFailure, printable};

/// Longest part of a server's own message that is passed on: enough for a sentence, not for an error page.
const MAX_QUOTE_CHARS: usize = 200;
/// Deepest chain of causes that is followed.
const MAX_CAUSES: usize = 16;

/// What a failed call means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// May pass by itself: the connection, the server, a timeout.
    Soon,
    /// Lasts until somebody changes something: rights, credentials, a CRD.
    Later,
    /// After the time that the server asked for.
    After(Duration),
    /// The position in the event history is lost: everything has to be listed again.
    ListAgain,
    /// As [`Next::Later`], and everything has to be listed again.
    ListLater,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchError {
    /// What went wrong, for which cause, and what to do about it.
    pub(super) failure: ReadFailure,
    /// When to try again.
    pub(super) next: Next,
}

impl WatchError {
    fn new(next: Next, cause: ReadCause, words: impl Into<String>) -> Self {
        Self { failure: ReadFailure::new(cause, words), next }
    }

    /// Whether the server answered that it knows no such resource: then there is no object of it either.
    pub(super) fn not_served(&self) -> bool {
        self.failure.cause == ReadCause::NotFound
    }

    /// No answer within the limit.
    pub(super) fn silent(limit: Duration) -> Self {
        Self::new(
            Next::Soon,
            ReadCause::Timeout,
            format!(
                "the API server gave no answer for {} s; check the network between the clusters and the server's load",
                limit.as_secs()
            ),
        )
    }

    /// No answer so far, which is waited for further.
    pub(super) fn slow(so_far: Duration) -> Self {
        let words = format!(
            "the API server has given no answer for {} s so far; check the network between the clusters and the server's load",
            so_far.as_secs()
        );
        Self::new(Next::Soon, ReadCause::Timeout, words)
    }

    /// The server sends more than is read of it. It is asked again slowly, for each try costs as much.
    pub(super) fn exceeds(what: &str, resource: &str) -> Self {
        Self::new(
            Next::ListLater,
            ReadCause::LimitExceeded,
            format!("the answers for {resource} exceed what is read of one cluster: {what}"),
        )
    }

    /// Whether an answer had too many bytes, so that fewer objects at once may help.
    pub(super) fn is_of_size(error: &kube::Error) -> bool {
        causes(error).any(|cause| cause.is::<AnswerTooLarge>())
    }

    /// An answer that leaves out what the API promises.
    pub(super) fn no_version() -> Self {
        Self::new(
            Next::Later,
            ReadCause::Protocol,
            "the API server answered a list without resourceVersion; check that the address is a Kubernetes API server",
        )
    }

    /// From a failed call for `resource` (`plural.group/version`).
    pub(super) fn of(error: &kube::Error, resource: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status, resource),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::new(Next::Soon, ReadCause::Protocol, not_kubernetes(resource))
            }
            kube::Error::Auth(_) => Self::new(
                Next::Later,
                ReadCause::Kubeconfig,
                "the credentials cannot be obtained (exec plugin, auth provider or token file); renew them",
            ),
            error => Self::of_connection(error, resource),
        }
    }

    /// From a status that the server sent.
    pub(super) fn of_status(status: &Status, resource: &str) -> Self {
        let said = quote(&status.message);
        match status.code {
            400 => Self::new(Next::Later, ReadCause::Other, format!("400 for {resource}: {said}")),
            401 => Self::new(
                Next::Later,
                ReadCause::Unauthorized,
                "401: the credentials are not accepted (expired or revoked); renew the kubeconfig of this cluster",
            ),
            403 => Self::new(
                Next::Later,
                ReadCause::Forbidden,
                format!("403: no right to list and watch {resource}; grant it to the user of the kubeconfig: {said}"),
            ),
            404 => Self::new(
                Next::Later,
                ReadCause::NotFound,
                format!(
                    "404: the cluster does not serve {resource}; install the CRD, in a release that has this version"
                ),
            ),
            410 => Self::new(
                Next::ListAgain,
                ReadCause::Other,
                format!("410: the history of {resource} is gone and is listed again"),
            ),
            429 => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let next = if seconds == 0 { Next::Soon } else { Next::After(Duration::from_secs(seconds.into())) };
                Self::new(next, ReadCause::Throttled, throttled(&said, seconds))
            }
            // What kube makes of JSON that is neither an object nor a Status.
            0 => Self::new(Next::ListAgain, ReadCause::Protocol, not_kubernetes(resource)),
            code => Self::new(
                Next::Soon,
                ReadCause::ServerError,
                format!("{code} for {resource}: {said}; check the health of the API server and its etcd"),
            ),
        }
    }

    fn of_connection(error: &kube::Error, resource: &str) -> Self {
        let mut last: &(dyn Error + 'static) = error;
        for cause in causes(error) {
            if let Some(too_large) = cause.downcast_ref::<AnswerTooLarge>() {
                return Self::exceeds(&too_large.to_string(), resource);
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Self::new(Next::Later, ReadCause::Tls, tls_words(tls));
            }
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && let Some((cause, words)) = io_words(io.kind())
            {
                return Self::new(Next::Soon, cause, words);
            }
            // The connector of hyper-util has no type of its own for it (`client/legacy/connect/http.rs`, `ConnectError::dns`).
            if cause.to_string().starts_with("dns error") {
                return Self::new(
                    Next::Soon,
                    ReadCause::Dns,
                    format!(
                        "DNS does not know the host of the API server ({}); check the server address and the resolver",
                        quote(&deepest(cause).to_string())
                    ),
                );
            }
            last = cause;
        }
        let said = quote(&last.to_string());
        Self::new(
            Next::Soon,
            ReadCause::Connection,
            format!("no connection to the API server: {said}; check its address, DNS and the network"),
        )
    }
}

fn not_kubernetes(resource: &str) -> String {
    format!(
        "the answer for {resource} is not what the Kubernetes API sends; check the server address and any proxy in between"
    )
}

/// The next cause. An `io::Error` hides the one that it wraps from `source`.
fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

/// An error and the causes behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| behind(*cause)).take(MAX_CAUSES)
}

/// The last cause of a chain.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// An API server throttles a user of whom it has too many requests, and everybody while it gets a new kind ready (Kubernetes,
/// `apiserver/pkg/registry/generic/registry/store.go`: "storage is (re)initializing").
fn throttled(said: &str, retry_after_seconds: u32) -> String {
    let wait = match retry_after_seconds {
        0 => String::new(),
        seconds => format!(" and asks to wait {seconds} s"),
    };
    if said.contains("initializing") {
        return format!("429: the API server is not ready for this kind yet ({said}){wait}; it passes by itself");
    }
    format!("429: the API server throttles us{wait}; raise its limits for our user (APF) if this lasts")
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error::InvalidCertificate};
    match error {
        InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "TLS: the server's certificate was issued by another authority than the kubeconfig names; put the present one into certificate-authority-data".to_owned()
        }
        InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "TLS: the server's certificate is for another host name; correct the server address or set tls-server-name".to_owned()
        }
        InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "TLS: the server's certificate has expired; renew it".to_owned()
        }
        InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "TLS: the server's certificate is not valid yet; check the clocks".to_owned()
        }
        // Alerts by which a server refuses a client (RFC 8446, section 6.2).
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired),
        ) => format!(
            "TLS: the server refuses the client certificate of the kubeconfig ({alert:?}); renew client-certificate-data and client-key-data"
        ),
        other => format!("TLS: {}; check the certificates of the server and of the kubeconfig", quote(&other.to_string())),
    }
}

fn io_words(kind: io::ErrorKind) -> Option<(ReadCause, &'static str)> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => {
            (ReadCause::Refused, "the API server refuses connections; check that it runs and that its address is right")
        }
        io::ErrorKind::TimedOut => {
            (ReadCause::Timeout, "the API server did not answer in time; check the network between the clusters")
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => {
            (ReadCause::Connection, "the connection to the API server broke off; check the server and the network")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (ReadCause::NoRoute, "there is no route to the API server; check the network between the clusters")
        }
        _ => return None,
    })
}

/// The beginning of a text from outside, in one line.
fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "no message".to_owned() } else { printable(&line, MAX_QUOTE_CHARS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;

    fn of_code(code: u16) -> WatchError {
        WatchError::of(&kube::Error::Api(Status::failure("said so", "Why").with_code(code).boxed()), "nodes/v1")
    }

    #[test]
    fn each_response_decides_the_action_and_the_retry() {
        for (code, next, word) in [
            (401, Next::Later, "renew the kubeconfig"),
            (403, Next::Later, "grant it"),
            (404, Next::Later, "install the CRD"),
            (410, Next::ListAgain, "listed again"),
            (429, Next::Soon, "throttles"),
            (500, Next::Soon, "500 for nodes/v1: said so"),
            (503, Next::Soon, "503"),
        ] {
            let trouble = of_code(code);
            assert_eq!(trouble.next, next, "{code}");
            assert!(trouble.failure.message.contains(word), "{code}: {}", trouble.failure.message);
        }
    }

    #[test]
    fn a_throttling_server_sets_the_wait() {
        let details: StatusDetails = serde_json::from_str(r#"{"retryAfterSeconds": 7}"#).unwrap();
        let status = Status::failure("", "").with_code(429).with_details(details);
        assert_eq!(WatchError::of_status(&status, "x").next, Next::After(Duration::from_secs(7)));
    }

    #[test]
    fn error_pages_are_cut_to_one_short_line() {
        let page = format!("<html>\n{}", "x ".repeat(500));
        let status = Status::failure(&page, "").with_code(502);
        let words = WatchError::of_status(&status, "x").failure.message;
        assert!(words.len() < MAX_QUOTE_CHARS + 100 && !words.contains('\n'), "{words}");
    }

    fn of_io(error: io::Error) -> WatchError {
        WatchError::of(&kube::Error::Service(Box::new(error)), "x")
    }

    #[test]
    fn connections_fail_in_plain_words() {
        let trouble = of_io(io::ErrorKind::ConnectionRefused.into());
        assert!(trouble.failure.message.contains("refuses connections"), "{}", trouble.failure.message);
        assert_eq!(trouble.next, Next::Soon);
        let trouble = of_io(io::Error::other("name or service not known"));
        assert!(trouble.failure.message.contains("name or service not known"), "{}", trouble.failure.message);
    }

    #[test]
    fn an_unknown_authority_differs_from_other_tls_errors() {
        use rustls::{CertificateError, Error};
        // As tokio-rustls and hyper-rustls wrap it.
        let words = |error| of_io(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))).failure.message;
        let unknown = words(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.contains("certificate-authority-data"), "{unknown}");
        let name = words(Error::InvalidCertificate(CertificateError::NotValidForName));
        assert!(name.contains("tls-server-name"), "{name}");
        assert!(words(Error::DecryptError).starts_with("TLS: "));
    }
}
