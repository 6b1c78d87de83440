//! Where an image comes from, as skopeo names it: `oci:DIR[:TAG]` and its kin.

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::document::Image;
use super::files::{Files, Folder};
use super::limits::Limits;
use super::platform::Platform;
use super::progress::{self, Show};
use super::registry::{self, Access, Door};
use super::{dir, docker, layout, rootfs};
use crate::bail;
use crate::error::{Error, Result};

/// A source as it was typed, and how it is to be read.
#[derive(Clone, Debug)]
pub struct Source {
    form: Form,
    path: PathBuf,
    /// A tag or a name in it.
    name: Option<String>,
    /// The way to it, where it is in a registry.
    door: Option<Door>,
    show: Show,
}

/// What is at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// An OCI layout in a folder.
    Layout,
    /// The same in an archive.
    LayoutArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// What `skopeo copy` writes into a folder, or a root filesystem.
    Dir,
    /// An image in a registry.
    Registry,
    /// An archive of either kind on standard input.
    Stdin,
}

/// What each form is called, what follows the colon, and whether a name may.
const FORMS: [(Form, &str, &str, bool); 5] = [
    (Form::Layout, "oci", "DIR[:TAG]", true),
    (Form::LayoutArchive, "oci-archive", "FILE[:TAG]", true),
    (Form::DockerArchive, "docker-archive", "FILE[:NAME]", true),
    (Form::Dir, "dir", "DIR", false),
    (Form::Registry, "docker", "//HOST/NAME[:TAG]", false),
];

/// An image whose documents were read and checked, with the files that its layers are in.
pub struct Opened {
    /// The image.
    pub image: Image,
    /// Its layers' names are names in here.
    pub files: Box<dyn Files>,
}

impl Source {
    /// Reads what was typed.
    ///
    /// # Errors
    /// An unknown form, with those that are known.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Ok(Self::of(Form::Stdin, PathBuf::from("-"), None));
        }
        let colon = bytes.iter().position(|byte| *byte == b':');
        let (before, rest) = colon.map_or((&b""[..], bytes), |colon| (&bytes[..colon], &bytes[colon + 1..]));
        let form = FORMS.iter().find(|(_, form, ..)| form.as_bytes() == before).filter(|_| !rest.is_empty());
        let Some((form, _, _, named)) = form else {
            return Err(Error::new(format!("{}: not an image's source", text.display())).hint(meant(text)));
        };
        let (path, name) = if *named { path_and_name(rest)? } else { (OsStr::from_bytes(rest).into(), None) };
        if *form == Form::Registry {
            registry::typed(rest)?;
        }
        Ok(Self::of(*form, path, name))
    }

    fn of(form: Form, path: PathBuf, name: Option<String>) -> Self {
        Self { form, path, name, door: None, show: Show::Nothing }
    }

    /// Finds the way to it, as the caller: before a user namespace. Says as well how people are to see it come in.
    ///
    /// # Errors
    /// Where a file of logins is missing or broken.
    pub fn reached(mut self, access: &Access, show: Show) -> Result<Self> {
        if self.form == Form::Registry {
            let reference = registry::typed(self.path.as_os_str().as_bytes())?;
            self.door = Some(Door::find(reference, access)?);
        }
        self.show = show;
        Ok(self)
    }

    /// What an image of this source is called where nobody names it: `FOLDER:TAG`, the name in an archive, or the file's.
    pub fn default_name(&self) -> Option<String> {
        if self.form == Form::Registry {
            return Some(self.path.to_str()?.trim_start_matches('/').to_owned());
        }
        let stem = self.path.file_name()?.to_string_lossy().into_owned();
        let stem = stem.strip_suffix(".tar").map(str::to_owned).unwrap_or(stem);
        match (self.form, &self.name) {
            (Form::Stdin, _) => None,
            (Form::DockerArchive, Some(name)) => Some(name.clone()),
            (_, Some(tag)) => Some(format!("{stem}:{tag}")),
            (_, None) => Some(stem),
        }
    }

    /// Finds the image and reads its documents.
    ///
    /// # Errors
    /// Where there is no such image, or its documents are broken.
    pub fn open(&self, platform: &Platform, limits: &Limits) -> Result<Opened> {
        let name = self.name.as_deref();
        let archive = || Archive::open(&self.path, limits.bytes);
        let layout = |files: &dyn Files| layout::image(files, name, platform);
        let docker = |files: &dyn Files| docker::image(files, name, platform);
        let opened = match self.form {
            Form::Layout => opened(Folder::open(&self.path)?, layout),
            Form::LayoutArchive => opened(archive()?, layout),
            Form::DockerArchive => opened(archive()?, docker),
            // Nothing comes in here that would have to be watched.
            Form::Dir if !dir::is_one(&self.path) => {
                let root = rootfs::Folder::open(&self.path)?;
                return Ok(Opened { image: root.image(), files: Box::new(root) });
            }
            Form::Dir => opened(Folder::open(&self.path)?, |files| dir::image(files, platform)),
            // Newer versions of docker save write both; the layout has the digests.
            Form::Stdin => opened(Archive::stdin(limits.bytes)?, |files| match files.open("oci-layout")? {
                Some(_) => layout(files),
                None => docker(files),
            }),
            Form::Registry => match &self.door {
                Some(door) => registry::open(door, platform),
                None => bail!("{self}: nobody has looked up the way to it"),
            },
        };
        opened.map(|opened| progress::watched(opened, self.show))
    }
}

/// Reads the documents of an image in these files.
fn opened(files: impl Files + 'static, image: impl FnOnce(&dyn Files) -> Result<Image>) -> Result<Opened> {
    Ok(Opened { image: image(&files)?, files: Box::new(files) })
}

impl Source {
    /// Refuses a folder to unpack into that would be unpacked itself.
    ///
    /// # Errors
    /// Where it lies in the root filesystem that is the source.
    pub fn is_apart_from(&self, folder: &Path) -> Result<()> {
        if self.form == Form::Dir && !dir::is_one(&self.path) && rootfs::holds(&self.path, folder)? {
            return Err(Error::new(format!("{folder:?} lies in {:?}, which would be copied into itself", self.path))
                .hint("choose a folder outside of it"));
        }
        Ok(())
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, form, ..)) = FORMS.iter().find(|(form, ..)| *form == self.form) {
            write!(f, "{form}:")?;
        }
        write!(f, "{}", self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// What somebody may have meant who wrote no form, for a hint.
fn meant(text: &OsStr) -> String {
    let shown = text.display();
    let path = path_and_name(text.as_bytes()).map(|(path, _)| path).unwrap_or_default();
    let has_form =
        path.as_os_str().is_empty() || text.is_empty() || FORMS.iter().any(|(_, form, ..)| path == Path::new(form));
    match std::fs::metadata(&path) {
        _ if has_form => forms(),
        Ok(found) if found.is_file() => {
            format!("for an archive: oci-archive:{shown}, or docker-archive:{shown} where `docker save` has made it")
        }
        Ok(_) if path.join("oci-layout").exists() => format!("oci:{shown} names it"),
        Ok(_) => format!("dir:{shown} names a root filesystem, or what skopeo has copied"),
        Err(_) if path.is_absolute() || path.starts_with(".") || path.starts_with("..") => {
            format!("there is no {}, and {}", path.display(), forms())
        }
        Err(_) => format!(
            "in a registry docker://{shown} names it; one in the store `myrt image bundle` takes. Else {}",
            forms()
        ),
    }
}

/// All forms of a source, for a hint.
fn forms() -> String {
    let forms: Vec<String> = FORMS.iter().map(|(_, form, rest, _)| format!("{form}:{rest}")).collect();
    format!("it is one of {}, or - for an archive on standard input", forms.join(", "))
}

/// Splits at the first colon, as skopeo does: no path in a source has one.
fn path_and_name(text: &[u8]) -> Result<(PathBuf, Option<String>)> {
    let mut halves = text.splitn(2, |byte| *byte == b':');
    let path = PathBuf::from(OsStr::from_bytes(halves.next().unwrap_or_default()));
    let name = halves
        .next()
        .map(|name| String::from_utf8(name.to_vec()).map_err(|_| Error::new("an image's name is not UTF-8")));
    Ok((path, name.transpose()?.filter(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_skopeo_has_them() {
        let parse = |text: &str| Source::parse(OsStr::new(text));
        let forms = [
            "oci:/images/debian",
            "oci:debian:12",
            "oci-archive:x.tar",
            "docker-archive:x:a.example:5/b:1",
            "dir:a:b",
            "docker://debian:12",
            "-",
        ];
        for text in forms {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let (one, other) = (parse("oci:a:b:c").unwrap(), parse("dir:a:b").unwrap());
        assert_eq!((one.path.to_str(), one.name.as_deref()), (Some("a"), Some("b:c")));
        assert_eq!((other.path.to_str(), other.name), (Some("a:b"), None));
        for text in ["debian", "oci:", "oci", ":x", "ostree:x", "", "./none:x"] {
            assert!(parse(text).unwrap_err().remedy().unwrap().contains("oci:DIR"), "{text}");
        }
        for (text, meant) in [
            ("Cargo.toml", "docker-archive:Cargo.toml"),
            ("./src", "dir:./src"),
            ("debian:12", "docker://debian:12"),
            ("ghcr.io/a/b", "docker://ghcr.io/a/b"),
        ] {
            assert!(parse(text).unwrap_err().remedy().unwrap().contains(meant), "{text}");
        }
    }
}
