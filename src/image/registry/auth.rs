//! How a registry is told who asks: nothing, a name and a password, or a token that another server gives for them.
//!
//! A token opens one repository for reading, whatever the registry asks for. It is got once, shared by all threads, and got
//! anew when the registry does not take it any more.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::Agent;
use ureq::http::StatusCode;

use super::challenge::Challenge;
use super::client::{said, whole};
use super::credentials::Credentials;
use super::failure::{Asker, Failure, of_status, of_transport};
use super::reference::Reference;
use super::url::Url;
use crate::error::{Error, Result};

/// Tokens have a few kilobytes; no honest answer has more than this.
const LARGEST: u64 = 1 << 20;
/// Who asks, in the words of OAuth 2.
const CLIENT: &str = "myrt";

/// What goes into `Authorization`, and how it is renewed.
pub struct Authorization {
    credentials: Option<Credentials>,
    asker: Asker,
    /// What the registry is asked for: `repository:NAME:pull`.
    scope: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Counts what was held, so that of several threads whose token has expired one gets the next.
    round: u64,
    header: Option<String>,
}

/// What a token server answers; the two names are of two protocols.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Authorization {
    /// For reading from this repository.
    pub fn new(credentials: Option<Credentials>, reference: &Reference) -> Self {
        let asker = Asker { registry: reference.registry.clone(), known: credentials.is_some() };
        Self { credentials, asker, scope: format!("repository:{}:pull", reference.name), held: Mutex::default() }
    }

    /// Who asks, for messages.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The header for the next request, and its round.
    pub fn current(&self) -> (u64, Option<String>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        (held.round, held.header.clone())
    }

    /// Gets another header, after one of this round was refused with these challenges. Says whether there is another one.
    /// `may_ask` refuses token servers that credentials must not go to, and says who asks the others.
    ///
    /// # Errors
    /// Where the token server refuses, or cannot be reached.
    pub fn renew<'a>(
        &self,
        round: u64,
        challenges: &[Challenge],
        may_ask: impl Fn(&Url) -> Result<&'a Agent>,
    ) -> Result<bool, Failure> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.round != round {
            return Ok(true);
        }
        let named = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let header = match (named("bearer"), named("basic"), &self.credentials) {
            (Some(challenge), ..) => {
                let (server, agent) = Url::parse(challenge.parameter("realm").unwrap_or_default())
                    .and_then(|url| may_ask(&url).map(|agent| (url, agent)))
                    .map_err(|error| error.context("the token server that the registry names"))?;
                format!("Bearer {}", self.token(&server, challenge.parameter("service"), agent)?)
            }
            // Sent once and refused: no other attempt will be taken.
            (None, Some(_), Some(Credentials::Password(user, password))) if held.header.is_none() => {
                basic(user, password)
            }
            _ => return Ok(false),
        };
        *held = Held { round: round + 1, header: Some(header) };
        Ok(true)
    }

    fn token(&self, server: &Url, service: Option<&str>, agent: &Agent) -> Result<String, Failure> {
        let service = service.map(|service| ("service", service));
        let scope = [("scope", self.scope.as_str())];
        let answer = match &self.credentials {
            Some(Credentials::Identity(token)) => {
                let grant = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT)];
                agent.post(server.whole()).send_form(grant.into_iter().chain(service).chain(scope))
            }
            Some(Credentials::Password(user, password)) => {
                let request = agent.get(server.whole()).query_pairs(service.into_iter().chain(scope));
                request.query("account", user).header("authorization", basic(user, password)).call()
            }
            None => agent.get(server.whole()).query_pairs(service.into_iter().chain(scope)).call(),
        };
        let answer = answer.map_err(|error| of_transport(server, error))?;
        let (parts, body) = answer.into_parts();
        if parts.status != StatusCode::OK {
            return Err(of_status(server, parts.status, &parts.headers, &said(body), &self.asker));
        }
        let content = whole(server, body, LARGEST)?;
        let broken = |why: &str| Failure::Lasting(Error::new(format!("{server}: the token server's answer {why}")));
        // No word of it goes into a message: it may be the token.
        let answer: Answer = serde_json::from_slice(&content).map_err(|_| broken("is not the JSON of one"))?;
        let token = answer.token.or(answer.access_token).ok_or_else(|| broken("has no token in it"))?;
        let fits = token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.is_empty();
        if fits { Ok(token) } else { Err(broken("has no token in it, but something else in its place")) }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
