//! A bundle over layers of the store: an overlay that the runtime mounts as the container's root. What the container
//! writes lies in the bundle.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::inherit::{Below, inherit};
use super::{BUNDLES, Record, Store, Use};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::image::bundle::{Bundle, Lasting};
use crate::image::convert::{Wishes, convert};
use crate::plan::spec::{Mount, Spec};
use crate::sys::beneath::Beneath;
use crate::sys::{clone, nsfs};

/// The options of a mount are one page.
const OPTIONS: usize = 4095;

impl Store {
    /// Makes a bundle of an image in the store. The process has no threads, and gets a mount namespace of its own.
    ///
    /// # Errors
    /// Where there is no such image, the folder is a bundle already, or the kernel cannot mount it so.
    pub fn bundle(&self, name: &str, folder: &Path, wishes: &Wishes) -> Result<()> {
        let _lock = self.lock(false)?;
        let image = self.image(name)?;
        let bundle = Bundle::begin(folder)?;
        let folder = folder.canonicalize().context(|| format!("{folder:?}"))?;
        let layers = self.below(&image)?;
        let mount = |upper, work| overlay(&layers, &folder.join(upper), &folder.join(work));
        let (partial, mount) = (mount(Bundle::UPPER.0, Bundle::WORK.0)?, mount(Bundle::UPPER.1, Bundle::WORK.1)?);
        inherit(&layers, &bundle.make_upper()?)?;
        // Known before there is a bundle: no layer is pruned in between.
        let used = Use { bundle: folder.clone(), layers: image.layers.clone() };
        self.write(BUNDLES, &folder.to_string_lossy(), &used)?;
        let made = spec(&image, &folder.join(Bundle::PARTIAL), &partial, wishes).and_then(|mut spec| {
            spec.mounts.insert(0, mount);
            bundle.finish(&spec, Lasting::Bundle)
        });
        made.inspect_err(|_| {
            let _ = fs::remove_file(self.record_path(BUNDLES, &folder.to_string_lossy()));
        })
    }

    /// The layers of an image, the lowest first. The kernel wants each once: as high as it stands.
    fn below(&self, image: &Record) -> Result<Vec<Below>> {
        let mut layers: Vec<Below> = Vec::new();
        for (index, diff_id) in image.layers.iter().enumerate().rev() {
            if image.layers[index + 1..].contains(diff_id) {
                continue;
            }
            let folder = self.layer(diff_id).ok_or_else(|| {
                Error::new(format!("the layer {diff_id} of {:?} is gone", image.name)).hint("pull the image again")
            })?;
            let is_hidden = layers.last().map_or(Ok(false), Below::hides_those_below)?;
            layers.push(Below::new(folder, self.implied(diff_id)?, is_hidden)?);
        }
        layers.reverse();
        Ok(layers)
    }
}

/// The mount of the container's root.
fn overlay(layers: &[Below], upper: &Path, work: &Path) -> Result<Mount> {
    let text = |path: &Path| match path.to_str() {
        Some(text) if !text.contains([':', ',', '\\']) => Ok(text.to_owned()),
        _ => bail!("{path:?}: overlayfs takes no path with a colon, a comma or a backslash"),
    };
    // The first is the uppermost.
    let seen = layers.iter().rev().filter(|layer| !layer.is_hidden);
    let lower = seen.map(|layer| text(&layer.folder)).collect::<Result<Vec<_>>>()?;
    let option = |name: &str, value: String| format!("{name}={value}");
    let mut options =
        vec![option("lowerdir", lower.join(":")), option("upperdir", text(upper)?), option("workdir", text(work)?)];
    // In a user namespace overlayfs keeps its marks in attributes that an ordinary user may set.
    if !nsfs::in_first_user_namespace() {
        options.push("userxattr".to_owned());
    }
    let length = options.join(",").len();
    if length > OPTIONS {
        return Err(Error::new(format!("{} layers: the options of their mount have {length} bytes", layers.len()))
            .hint(format!(
                "a page of {OPTIONS} is what there is: a store with a shorter path (--store), or `image unpack`"
            )));
    }
    Ok(Mount {
        destination: "/".to_owned(),
        r#type: Some("overlay".to_owned()),
        source: Some("overlay".to_owned()),
        options,
        ..Mount::default()
    })
}

/// Mounts the overlay as the runtime will, to look names up in the image's own files; gives config.json.
fn spec(image: &Record, rootfs: &Path, mount: &Mount, wishes: &Wishes) -> Result<Spec> {
    clone::unshare(libc::CLONE_NEWNS as u64).context(|| "unshare CLONE_NEWNS")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).context(|| "make all mounts private")?;
    let options = std::ffi::CString::new(mount.options.join(",")).map_err(|_| Error::new("a zero byte in a path"))?;
    rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::empty(), &*options)
        .context(|| format!("mount an overlay on {rootfs:?}"))
        .map_err(|error| {
            error.hint(
                "the filesystem below may not serve overlayfs (the kernel's log says why): `image unpack` needs none",
            )
        })?;
    let spec = Beneath::open(rootfs).and_then(|root| convert(&image.config, &root, wishes));
    rustix::mount::unmount(rootfs, UnmountFlags::DETACH).context(|| format!("unmount {rootfs:?}"))?;
    spec
}
