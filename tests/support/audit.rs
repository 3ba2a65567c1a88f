//! What was written into a cluster, by whom: counted where it arrives, in the server's audit log.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    sync::atomic::Ordering,
    time::Duration,
};

use http::Request;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{TestCluster, Who, eventually};

/// From an answered request to its line in the log.
const LOGGED_WITHIN: Duration = Duration::from_secs(30);

/// A place in a cluster's audit log.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// One request to write, accepted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch` (which server-side apply is), `delete` or `deletecollection`.
    pub verb: String,
    /// As the client sent it.
    pub user_agent: String,
    /// The user whom the token stands for; empty when it stood for none.
    pub user: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// In the plural: `serviceentries`.
    pub resource: String,
    /// `status` and the like, else empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty where the server makes the name.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the answer was done.
    pub time: Timestamp,
}

impl TestCluster {
    /// Here: all that was answered before lies behind it.
    pub async fn mark(&self) -> Mark {
        Mark(self.fence(Mark(0)).await.1)
    }

    /// The requests to write since a mark, in the order in which they were done, of everyone but
    /// the server itself. The test's own have the user agent
    /// [`TEST_USER_AGENT`](super::TEST_USER_AGENT).
    pub async fn writes(&self, since: Mark) -> Vec<Write> {
        let (lines, _) = self.fence(since).await;
        lines.iter().filter(|event| !is_fence(event)).map(write).collect()
    }

    /// Writes a line of our own and waits for it; returns what lies between, and where it ends.
    async fn fence(&self, since: Mark) -> (Vec<Value>, u64) {
        let agent = format!("{FENCE}{}", self.fences.fetch_add(1, Ordering::Relaxed));
        let client = self.client_with(&self.url(), &self.token(Who::Admin), &agent);
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .body(review.to_string().into_bytes())
            .expect("a plain request");
        let result = client.request_text(request).await;
        result.unwrap_or_else(|error| panic!("{}: a fence in the audit log: {error}", self.name()));

        let what = format!("{} has logged what it answered", self.name());
        eventually(&what, LOGGED_WITHIN, async || {
            let (events, end) = self.events(since);
            if events.iter().any(|event| event["userAgent"] == agent.as_str()) {
                Ok((events, end))
            } else {
                Err(format!("no {agent} among {} lines", events.len()))
            }
        })
        .await
    }

    fn events(&self, since: Mark) -> (Vec<Value>, u64) {
        let mut text = String::new();
        let mut log = match File::open(self.audit_log()) {
            Ok(log) => log,
            // Made with the first line.
            Err(error) if error.kind() == ErrorKind::NotFound => return (Vec::new(), 0),
            Err(error) => panic!("{}: {error}", self.audit_log().display()),
        };
        log.seek(SeekFrom::Start(since.0)).expect("a place in the file");
        log.read_to_string(&mut text).expect("a readable log");
        // The last line may be half written.
        let whole = text.rfind('\n').map_or(0, |newline| newline + 1);
        let events = text[..whole].lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        (events, since.0 + whole as u64)
    }
}

const FENCE: &str = "tradewind-tests-fence/";

fn is_fence(event: &Value) -> bool {
    event["userAgent"].as_str().is_some_and(|agent| agent.starts_with(FENCE))
}

fn write(event: &Value) -> Write {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    Write {
        verb: text(&event["verb"]),
        user_agent: text(&event["userAgent"]),
        user: text(&event["user"]["username"]),
        group: text(&object["apiGroup"]),
        resource: text(&object["resource"]),
        subresource: text(&object["subresource"]),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or_default(),
        time: text(&event["stageTimestamp"]).parse().expect("a time of the server"),
    }
}
