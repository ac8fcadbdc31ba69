//! Questions to web servers, and their answers.
//!
//! In: nothing. Out: values. Never: a request.

use std::collections::BTreeMap;
use std::time::Duration;

use super::span;
use crate::secret::Content;

/// A request that a host makes itself. It follows no redirect, and goes by no proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// `http://` or `https://`.
    pub url: String,
    /// What is asked for.
    #[serde(default)]
    pub method: Method,
    /// How long the whole answer may take.
    #[serde(default = "super::question", with = "span")]
    pub timeout: Duration,
    /// Whose certificates are believed.
    #[serde(default)]
    pub trust: Trust,
    /// A file on the host with headers to send, one in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_file: Option<String>,
}

impl HttpRequest {
    /// A GET request with ten seconds for the answer, believing whom the host believes.
    pub fn get(url: impl Into<String>) -> Self {
        let (timeout, trust) = (super::question(), Trust::System);
        Self { url: url.into(), method: Method::Get, timeout, trust, header_file: None }
    }
}

/// A request to a web API that a host makes itself, by curl. It follows no redirect, and goes by no proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiRequest {
    /// The method, in capitals.
    pub method: String,
    /// `http://` or `https://`.
    pub url: String,
    /// Headers, by name.
    pub headers: BTreeMap<String, Content>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Content>,
    /// Whose certificates are believed.
    #[serde(default)]
    pub trust: Trust,
    /// How long one try may take.
    #[serde(with = "span")]
    pub timeout: Duration,
    /// How often it is tried again, a second apart, where the server refuses the connection or says that it cannot now.
    pub retries: u8,
}

impl ApiRequest {
    /// How long all tries may take.
    pub fn longest(&self) -> Duration {
        (self.timeout + Duration::from_secs(1)) * (u32::from(self.retries) + 1)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Method {
    /// The whole answer.
    #[default]
    Get,
    /// Only its head.
    Head,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// Those of the authorities that the host itself believes.
    #[default]
    System,
    /// Those of the authorities in this file on the host, in PEM.
    Authority(String),
    /// Anybody's.
    Anybody,
}

/// What a web server answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HttpReading {
    /// The status code.
    pub status: u16,
    /// The names and values of the head, in order.
    pub headers: Vec<(String, String)>,
    /// The body, up to [`super::FETCH_LIMIT`] bytes.
    #[serde(with = "crate::secret::bytes")]
    pub body: Vec<u8>,
    /// For how many seconds more the server's certificate is good, by the host's clock; none if it has none, or the host
    /// cannot say.
    pub certificate: Option<i64>,
}

impl HttpReading {
    /// The values of a header. Its name may be written with other capitals.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str())
    }
}
