//! Pages of a view, as the Kubernetes API has them: `limit` items, and a `continue` token for those that follow.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::views::error;

/// Which page of a view is asked for; all of it, where neither is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

/// Behind a page, when there are more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    /// The token of the next page.
    #[serde(rename = "continue")]
    token: String,
    /// Items after this page.
    remaining_item_count: usize,
}

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) metadata: Option<PageMetadata>,
}

impl<T> Page<T> {
    /// The page with each item as it is shown.
    pub(super) fn view<V>(self, view: impl FnMut(T) -> V) -> Page<V> {
        Page { items: self.items.into_iter().map(view).collect(), metadata: self.metadata }
    }
}

impl<T: Serialize> Page<T> {
    /// The page as an object with its items under a name.
    pub(super) fn answer(self, name: &'static str) -> Response {
        let mut answer = json!({ name: self.items });
        if let Some(metadata) = self.metadata {
            answer["metadata"] = json!(metadata);
        }
        Json(answer).into_response()
    }
}

impl PageQuery {
    /// The page of `items`, which are in a fixed order. An item that `key` names alike in two answers is the same one. A page
    /// begins behind the last item of the page before, or where that was if it has gone.
    pub(super) fn page<T, K: Hash>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        if let Some((at, hash)) = self.token.as_deref().and_then(read_token) {
            let is_last = |item: &T| hash_of(&key(item)) == hash;
            let behind = items.iter().position(is_last).map_or(at, |position| position + 1);
            items.drain(..behind.min(items.len()));
            return self.cut(items, key, behind);
        }
        self.cut(items, key, 0)
    }

    fn cut<T, K: Hash>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K, behind: usize) -> Page<T> {
        let remaining_item_count = self.limit.map_or(0, |limit| items.len().saturating_sub(limit));
        items.truncate(items.len() - remaining_item_count);
        let last = items.last().filter(|_| remaining_item_count > 0);
        let metadata = last.map(|last| {
            let token = format!("{}-{:016x}", behind + items.len(), hash_of(&key(last)));
            PageMetadata { token, remaining_item_count }
        });
        Page { items, metadata }
    }
}

fn hash_of(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The number of items before the next page, and the hash of the last of them.
fn read_token(token: &str) -> Option<(usize, u64)> {
    let (at, hash) = token.split_once('-')?;
    Some((at.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let wrong = |message: &str| error(StatusCode::BAD_REQUEST, message.to_owned());
        let Query(query) = Query::<Self>::from_request_parts(parts, state)
            .await
            .map_err(|_| wrong("limit is not a whole number from 1"))?;
        if query.limit == Some(0) {
            return Err(wrong("limit is not a whole number from 1"));
        }
        if query.token.as_deref().is_some_and(|token| read_token(token).is_none()) {
            return Err(wrong("continue is not a token of a page before"));
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: usize, token: Option<&str>) -> PageQuery {
        PageQuery { limit: Some(limit), token: token.map(str::to_owned) }
    }

    #[test]
    fn pages_follow_each_other_without_a_gap_also_when_items_come_and_go() {
        let mut items = vec!["a", "b", "c", "d", "e"];
        let first = query(2, None).page(items.clone(), |item| *item);
        assert_eq!(first.items, ["a", "b"]);
        let metadata = first.metadata.unwrap();
        assert_eq!(metadata.remaining_item_count, 3);
        items.insert(0, "0");
        let second = query(2, Some(&metadata.token)).page(items.clone(), |item| *item);
        assert_eq!(second.items, ["c", "d"], "what came before moves nothing");
        let token = second.metadata.unwrap().token;
        items.retain(|item| *item != "d");
        let third = query(2, Some(&token)).page(items, |item| *item);
        assert_eq!((third.items, third.metadata), (vec![], None), "five were shown, and five are left");
    }

    #[test]
    fn without_a_limit_there_is_one_page_and_a_strange_token_is_none() {
        let page = PageQuery::default().page(vec![1, 2, 3], |item| *item);
        assert_eq!(page, Page { items: vec![1, 2, 3], metadata: None });
        for token in ["", "-", "x-1", "1-x", "1", "99999999999999999999999-1"] {
            assert_eq!(read_token(token), None, "{token}");
        }
        let far = query(2, Some("18446744073709551615-00")).page(vec![1], |item| *item);
        assert_eq!(far, Page { items: vec![], metadata: None });
    }
}
