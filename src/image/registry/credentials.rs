//! Who the caller is to a registry: `--creds`, or the files in which podman and docker keep logins, and the helpers that
//! those files name.
//!
//! All of it happens as the caller, before a user namespace: a helper that talks to a keyring would find another user's.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::reference::{DOCKER, Reference};
use super::url::shortened;
use crate::error::{Context, Error, Result};
use crate::image::spec::or_default;
use crate::log;
use crate::namespaces::id_helpers;
use crate::sys::spawn::{End, LastStep, Program, run};

/// What docker calls its own registry in its files, and to its helpers.
const DOCKER_ADDRESS: &str = "https://index.docker.io/v1/";
/// A helper may ask a person, who is not waited for longer.
const HELPER_TIME: Duration = Duration::from_secs(120);
/// What helpers call a token in the place of a user's name.
const TOKEN_USER: &str = "<token>";

/// What proves who the caller is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password(String, String),
    /// A token that tokens are got for.
    Identity(String),
}

/// Not for anybody's log.
impl Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// What `--creds` says.
    ///
    /// # Errors
    /// Without a name.
    pub fn typed(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(Error::new("--creds: the name is missing").hint("USER:PASSWORD is expected"));
        }
        Ok(Self::Password(user.to_owned(), password.to_owned()))
    }
}

/// A file with logins; docker's and podman's differ in their place alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logins {
    #[serde(default, deserialize_with = "or_default")]
    auths: BTreeMap<String, Login>,
    #[serde(default, deserialize_with = "or_default")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct Login {
    #[serde(default, deserialize_with = "or_default")]
    auth: String,
    #[serde(default, rename = "identitytoken", deserialize_with = "or_default")]
    identity_token: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Looks for a login; `file` is the one that the caller named.
///
/// # Errors
/// Where that file is missing, or a file is broken.
pub fn find(reference: &Reference, file: Option<&Path>) -> Result<Option<Credentials>> {
    for (path, needed) in places(file) {
        let content = match std::fs::read(&path) {
            Err(error) if !needed && error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.context(|| format!("read {path:?}"))?,
        };
        let logins: Logins = serde_json::from_slice(&content).map_err(|error| {
            Error::new(format!("{path:?}: {error}"))
                .hint("logins are expected there, as `podman login` or `docker login` writes them")
        })?;
        if let Some(found) = in_file(&logins, reference).context(|| format!("{path:?}"))? {
            log::debug(|| format!("the login for {} is of {path:?}", reference.registry));
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The files in the order in which they are looked at, which is skopeo's, and whether each has to be there.
fn places(file: Option<&Path>) -> Vec<(PathBuf, bool)> {
    if let Some(file) = file.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")) {
        return vec![(file, true)];
    }
    let own = match variable("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("containers/auth.json"),
        None => format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into(),
    };
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    let files = [
        Some(own),
        config_home().map(|folder| folder.join("containers/auth.json")),
        docker.map(|folder| folder.join("config.json")),
    ];
    files.into_iter().flatten().map(|file| (file, false)).collect()
}

/// Where the caller keeps settings.
pub fn config_home() -> Option<PathBuf> {
    variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn in_file(logins: &Logins, reference: &Reference) -> Result<Option<Credentials>> {
    let helper = logins.cred_helpers.iter().find(|(key, _)| normal(key) == reference.registry);
    if let Some((_, helper)) = helper
        && let Some(found) = ask(helper, reference)
    {
        return Ok(Some(found));
    }
    // The most exact key wins: podman keeps logins for a folder of a registry, or for one repository.
    let whole = reference.to_string();
    let fits = |key: &str| whole.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let logged_in = logins.auths.iter().filter(|(key, login)| fits(&normal(key)) && !login.is_empty());
    if let Some((key, login)) = logged_in.max_by_key(|(key, _)| normal(key).len()) {
        return login.read().context(|| format!("auths.{key}")).map(Some);
    }
    Ok((!logins.creds_store.is_empty()).then(|| ask(&logins.creds_store, reference)).flatten())
}

/// A key as a registry's name: docker writes addresses of its first protocol.
fn normal(key: &str) -> String {
    let stripped = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = match stripped {
        Some(address) => address.split('/').next().unwrap_or_default(),
        None => key.strip_suffix("/v1/").or_else(|| key.strip_suffix("/v2/")).unwrap_or(key),
    };
    match key {
        "index.docker.io" | "registry-1.docker.io" => DOCKER.to_owned(),
        key => key.to_owned(),
    }
}

impl Login {
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.identity_token.is_empty()
    }

    fn read(&self) -> Result<Credentials> {
        if !self.identity_token.is_empty() {
            return Ok(Credentials::Identity(self.identity_token.clone()));
        }
        let broken = || Error::new("auth: the base64 of USER:PASSWORD is expected").hint("log in again");
        let text = STANDARD.decode(self.auth.trim()).map_err(|_| broken())?;
        let text = String::from_utf8(text).map_err(|_| broken())?;
        let (user, password) = text.split_once(':').ok_or_else(broken)?;
        // Docker once filled the rest with zeros.
        Ok(Credentials::Password(user.to_owned(), password.trim_end_matches('\0').to_owned()))
    }
}

/// Asks a helper. One that is missing or fails is told and does not stop the rest: most images are anybody's to pull.
fn ask(helper: &str, reference: &Reference) -> Option<Credentials> {
    let name = format!("docker-credential-{helper}");
    let address = if reference.registry == DOCKER { DOCKER_ADDRESS } else { &reference.registry };
    ask_program(&name, address).unwrap_or_else(|error| {
        log::warn(format!("{name}: {error}; going on without a login for {}", reference.registry));
        None
    })
}

fn ask_program(name: &str, address: &str) -> Result<Option<Credentials>> {
    let program = (!name.contains('/')).then(|| id_helpers::find(name)).flatten();
    let program = program.ok_or_else(|| Error::new("there is no such program in PATH"))?;
    let env: Vec<String> = std::env::vars_os()
        .filter_map(|(name, value)| Some(format!("{}={}", name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let args = [name.to_owned(), "get".to_owned()];
    let outcome = run(&Program {
        path: &program,
        args: &args,
        env: &env,
        cwd: None,
        stdin: address.as_bytes(),
        timeout: Some(HELPER_TIME),
        last: LastStep::default(),
    })?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    // Helpers are told apart by nothing but this sentence.
    if said.contains("credentials not found") {
        return Ok(None);
    }
    if outcome.end != End::Exited(0) {
        // What it says on stdout may be a secret: no word of that goes into a message.
        let why = String::from_utf8_lossy(&outcome.stderr);
        return Err(Error::new(format!("it failed ({:?}): {}", outcome.end, shortened(why.trim()))));
    }
    let answer: Answer =
        serde_json::from_str(&said).map_err(|_| Error::new("its answer is not the JSON of a credential helper"))?;
    Ok(match (answer.username, answer.secret) {
        (_, secret) if secret.is_empty() => None,
        (user, secret) if user == TOKEN_USER => Some(Credentials::Identity(secret)),
        (user, secret) => Some(Credentials::Password(user, secret)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(logins: serde_json::Value, reference: &str) -> Result<Option<Credentials>> {
        in_file(&serde_json::from_value(logins).unwrap(), &Reference::parse(reference).unwrap())
    }

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password(user.to_owned(), password.to_owned()))
    }

    #[test]
    fn the_most_exact_key_wins() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let logins = json!({ "auths": {
            "r.example": auth("all:1"), "r.example/team": auth("team:2:3"), "r.example/team/app": auth("app:\u{e9}"),
            "https://s.example/v2/": auth("s:4\0\0"), "t.example": {}, "u.example": { "identitytoken": "token" },
            "https://index.docker.io/v1/": auth("docker:5"),
        }});
        for (reference, expected) in [
            ("r.example/app", password("all", "1")),
            ("r.example/team/other", password("team", "2:3")),
            ("r.example/team/app:1", password("app", "\u{e9}")),
            ("r.example/teams/app", password("all", "1")),
            ("s.example/x", password("s", "4")),
            ("t.example/x", None),
            ("u.example/x", Some(Credentials::Identity("token".to_owned()))),
            ("debian", password("docker", "5")),
            ("r.example:5000/app", None),
            ("xr.example/app", None),
        ] {
            assert_eq!(found(logins.clone(), reference).unwrap(), expected, "{reference}");
        }
    }

    #[test]
    fn broken_logins_are_told_without_their_secrets() {
        for auth in ["%%%", &STANDARD.encode("no colon")] {
            let error = found(json!({ "auths": { "r.example": { "auth": auth } } }), "r.example/a").unwrap_err();
            assert!(error.to_string().starts_with("auths.r.example"), "{error}");
            assert!(!error.to_string().contains(auth), "{error}");
        }
        assert_eq!(found(json!({ "auths": null, "credHelpers": null }), "debian").unwrap(), None);
        assert_eq!(format!("{:?}", password("user", "secret").unwrap()), "Credentials");
        assert!(Credentials::typed(":x").is_err());
        assert_eq!(Some(Credentials::typed("a:b:c").unwrap()), password("a", "b:c"));
    }
}
