//! Requests to one registry: who is asked, how often, with which rights, and where a redirect may lead.
//!
//! Redirects are followed here and not by the HTTP library, since each one decides whether credentials go along. Nothing of
//! an answer is believed but by its digest.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::Door;
use super::auth::Authorization;
use super::challenge::{self, Challenge};
use super::failure::{Failure, is_of_tls, of_status, of_transport, patiently};
use super::reference::{Reference, is_loopback};
use super::trust::{self, Trust};
use super::url::Url;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::lookups;

/// One request leads to no more than so many others.
const REDIRECTS: usize = 5;
/// How often a request is let in anew: the first time, and once when a token has expired.
const RENEWALS: usize = 2;
/// How much is read of an answer that is no success.
const SAID: u64 = 64 << 10;
/// How long a connection may take, and how long it may keep silent.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);

/// A registry, and the repository in it that is read.
pub struct Client {
    /// Speaks to the registry, and to whom it leads.
    agent: Agent,
    others: Agent,
    /// Where all requests begin.
    origin: Url,
    /// Whether the caller has allowed plain http on the network.
    plain: bool,
    authorization: Authorization,
    reference: Reference,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What stands behind the repository: `blobs/DIGEST`.
    pub path: String,
    /// The media types that are understood.
    pub accept: Option<&'static str>,
    /// The first byte that is wanted.
    pub from: u64,
}

impl Client {
    /// Finds out how the registry is spoken to.
    ///
    /// # Errors
    /// Where it is to be believed and cannot.
    pub fn new(door: &Door) -> Result<Self> {
        lookups::files_and_dns_only();
        let host = door.reference.host();
        let loopback = is_loopback(host);
        let needed = !loopback && !door.plain_http;
        let Trust { registry, others } = trust::find(door, needed)?;
        let (agent, others) = (agent(registry, loopback), agent(others, loopback));
        let plain = door.plain_http || !door.verify;
        let tls = !door.plain_http && (!(loopback || plain) || speaks_tls(&agent, host)?);
        let origin = Url::new(tls, host, "/".to_owned());
        log::debug(|| format!("{} is asked at {origin}", door.reference.registry));
        let authorization = Authorization::new(door.credentials.clone(), &door.reference);
        Ok(Self { agent, others, origin, plain, authorization, reference: door.reference.clone() })
    }

    /// The image that this is about.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Where something is, for messages.
    pub fn url(&self, path: &str) -> Url {
        let path = format!("/v2/{}/{path}", self.reference.name);
        Url::new(self.origin.tls, &self.origin.authority, path)
    }

    /// Asks until there is a success, with patience.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, wanted: &Wanted) -> Result<Response<Body>> {
        patiently(|| self.attempt(wanted))
    }

    /// The whole of a small document, and what the registry says of it.
    ///
    /// # Errors
    /// Where there is none, or it has more than `most` bytes.
    pub fn document(&self, wanted: &Wanted, most: u64) -> Result<Response<Vec<u8>>> {
        let url = self.url(&wanted.path);
        patiently(|| {
            let (parts, body) = self.attempt(wanted)?.into_parts();
            Ok(Response::from_parts(parts, whole(&url, body, most)?))
        })
    }

    fn attempt(&self, wanted: &Wanted) -> Result<Response<Body>, Failure> {
        let mut renewals = 0;
        loop {
            let (held, header) = self.authorization.current();
            let (url, response) = self.follow(self.url(&wanted.path), wanted, header.as_deref())?;
            let (parts, body) = response.into_parts();
            if matches!(parts.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                return Ok(Response::from_parts(parts, body));
            }
            // Read, so that the connection can be used again.
            let said = said(body);
            let asks = parts.status == StatusCode::UNAUTHORIZED && url.same_origin(&self.origin);
            if asks
                && renewals < RENEWALS
                && self.authorization.renew(held, &challenges(&parts.headers), |url| self.may_ask(url))?
            {
                renewals += 1;
                continue;
            }
            return Err(of_status(&url, parts.status, &parts.headers, &said, self.authorization.asker()));
        }
    }

    /// Sends a request, and again to where an answer leads. Credentials go to the registry alone.
    fn follow(&self, start: Url, wanted: &Wanted, header: Option<&str>) -> Result<(Url, Response<Body>), Failure> {
        let mut url = start.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent_for(&url).get(url.whole());
            if let Some(header) = header.filter(|_| url.same_origin(&self.origin)) {
                request = request.header("authorization", header);
            }
            if let Some(accept) = wanted.accept {
                request = request.header("accept", accept);
            }
            if wanted.from > 0 {
                request = request.header("range", format!("bytes={}-", wanted.from));
            }
            let response = request.call().map_err(|error| of_transport(&url, error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((url, response));
            }
            let next = self.next(&url, &response).map_err(|error| error.context(format!("{url} redirects")))?;
            log::debug(|| format!("{url} redirects to {next}"));
            url = next;
        }
        let error = Error::new(format!("{start}: it redirects more than {REDIRECTS} times, last to {url}"));
        Err(error.hint("the registry's storage is set up wrongly: tell who runs it").into())
    }

    fn agent_for(&self, url: &Url) -> &Agent {
        if url.same_origin(&self.origin) { &self.agent } else { &self.others }
    }

    /// Who asks a token server, where it may be asked.
    fn may_ask(&self, url: &Url) -> Result<&Agent> {
        self.may_go(url).map(|()| self.agent_for(url))
    }

    fn next(&self, url: &Url, response: &Response<Body>) -> Result<Url> {
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let Some(location) = location else { bail!("to nowhere: its answer has no Location that could be read") };
        let next = url.join(location).context(|| "to what is no place for an image")?;
        self.may_go(&next).map(|()| next)
    }

    /// Plain http goes no further than this machine, unless the caller has said so.
    fn may_go(&self, url: &Url) -> Result<()> {
        if url.tls || self.plain || (url.is_loopback() && self.origin.is_loopback()) {
            return Ok(());
        }
        Err(Error::new(format!("{url}: plain http, which anybody on the way can read and change"))
            .hint("if that is meant: --tls-verify=false"))
    }
}

/// Plain http to this machine is the rule for a registry that somebody tries out; one that speaks https all the same is
/// found out by asking. So is any registry that the caller does not want to be verified.
fn speaks_tls(agent: &Agent, host: &str) -> Result<bool> {
    let url = Url::new(true, host, "/v2/".to_owned());
    match agent.get(url.whole()).call() {
        Ok(_) => Ok(true),
        Err(error) if is_of_tls(&error) => match of_transport(&url, error) {
            Failure::Lasting(error) | Failure::Passing(error, _) => Err(error),
        },
        Err(_) => Ok(false),
    }
}

fn agent(tls: TlsConfig, loopback: bool) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("myrt/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .tls_config(tls);
    // A proxy's loopback interface is not ours.
    let config = if loopback { config.proxy(None) } else { config };
    config.build().new_agent()
}

fn challenges(headers: &ureq::http::HeaderMap) -> Vec<Challenge> {
    let headers = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
    headers.flat_map(challenge::parse).collect()
}

/// The whole of a body, which has no more than `most` bytes.
pub fn whole(url: &Url, body: Body, most: u64) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = body.into_reader().take(most + 1).read_to_end(&mut content);
    read.map_err(|error| of_transport(url, error.into()))?;
    if content.len() as u64 > most {
        return Err(Failure::Lasting(Error::new(format!("{url}: an answer of more than {most} bytes"))));
    }
    Ok(content)
}

/// The beginning of a body; what cannot be read of it is left out.
pub fn said(body: Body) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = body.into_reader().take(SAID).read_to_end(&mut content);
    content
}
