//! Whether the bearer of a token may change a cluster's Secret on the hub: a TokenReview, then a SubjectAccessReview.
//!
//! Only tokens made for [`AUDIENCE`] count: whoever sees one on its way to Tradewind cannot use it at an API server.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use crate::model::printable;

/// The audience of tokens that release removals.
pub const AUDIENCE: &str = "tradewind.io";
/// Longest wait for an answer of the hub to one review.
const REVIEW_SECONDS: u64 = 10;
/// Longest user name that is repeated in a log or an answer, in characters.
const MAX_USER_CHARS: usize = 120;

/// Why a token gives no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The hub does not take the token.
    #[error(
        "the hub does not take the token; it has to be one for the audience {AUDIENCE}, as `kubectl create token NAME --audience={AUDIENCE}` makes it"
    )]
    Unknown,
    /// The user may not change the Secret.
    #[error("{user} may not patch the Secret {secret} on the hub")]
    Forbidden {
        /// The user's name.
        user: String,
        /// The Secret, as `namespace/name`.
        secret: String,
    },
    /// The hub could not be asked.
    #[error("the hub could not be asked for a {review}: {reason}")]
    Unavailable {
        /// What was asked for.
        review: &'static str,
        /// Why, without the token.
        reason: String,
    },
}

/// The name of the user that bears `token`, if they may patch the Secret.
///
/// # Errors
/// When the token is unknown, its user may not, or the hub could not be asked.
pub async fn user_who_may_patch(
    client: &Client,
    token: String,
    namespace: &str,
    secret: &str,
) -> Result<String, TokenRefusal> {
    let spec = TokenReviewSpec { token: Some(token), audiences: Some(vec![AUDIENCE.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let answered = reviewed(client, "TokenReview", &review).await?.status.unwrap_or_default();
    // A server that knows no audiences names none; then the token may be for anything.
    let is_for_us = answered.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
    let user = match answered.user {
        Some(user) if answered.authenticated == Some(true) && is_for_us => user,
        _ => return Err(TokenRefusal::Unknown),
    };
    let UserInfo { username, uid, groups, extra } = user;
    let username = username.filter(|name| !name.is_empty()).ok_or(TokenRefusal::Unknown)?;
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some("patch".to_owned()),
        resource: Some("secrets".to_owned()),
        version: Some("v1".to_owned()),
        name: Some(secret.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(username.clone()),
        uid,
        groups,
        extra,
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let is_allowed =
        reviewed(client, "SubjectAccessReview", &review).await?.status.is_some_and(|status| status.allowed);
    let user = printable(&username, MAX_USER_CHARS);
    if is_allowed { Ok(user) } else { Err(TokenRefusal::Forbidden { user, secret: format!("{namespace}/{secret}") }) }
}

async fn reviewed<K>(client: &Client, review: &'static str, object: &K) -> Result<K, TokenRefusal>
where
    K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let unavailable = |reason: String| TokenRefusal::Unavailable { review, reason };
    let params = PostParams::default();
    let asked = tokio::time::timeout(Duration::from_secs(REVIEW_SECONDS), api.create(&params, object));
    match asked.await {
        Ok(Ok(answer)) => Ok(answer),
        // Other errors may quote what was sent, and that is the token.
        Ok(Err(kube::Error::Api(status))) => {
            Err(unavailable(format!("{} {}", status.code, printable(&status.reason, MAX_USER_CHARS))))
        }
        Ok(Err(_)) => Err(unavailable("the request failed".to_owned())),
        Err(_) => Err(unavailable(format!("no answer within {REVIEW_SECONDS} s"))),
    }
}
