"""Files that engines read: found, read whole, replaced whole or not at all.

Owns the rename, and what a file keeps over it: owner, mode, extended attributes, the link that leads to it. Knows nothing
of what is in a file.
"""

import contextlib
import errno
import os
import stat


class Refused(Exception):
    """What a person has to look at. Nothing has been changed when it is raised while plans are made."""


def locate(destdir, path):
    """Where `path` lies below `destdir`, links followed: a link stays a link, what it points to is what is replaced."""
    named = destdir + path
    real = os.path.realpath(named)
    top = os.path.realpath(destdir or "/")
    if os.path.commonpath([top, real]) != top:
        raise Refused(f"{named} is a link that leads out of {destdir}, to {real}")
    if os.path.islink(real):
        raise Refused(f"{named} is a link that leads in a circle")
    if os.path.islink(named) and not os.path.isdir(os.path.dirname(real)):
        raise Refused(f"{named} is a link to {real}, and there is no folder {os.path.dirname(real)}: make it, or remove the link")
    return real


def read(path):
    """The text of a file, or None where there is none. Line ends are kept as they are."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused(f"{path} is not a regular file")
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        raise Refused(f"{position(path, before, len(before))}: this is not UTF-8 (byte 0x{content[error.start]:02x})") from error


def position(path, text, offset):
    """FILE:LINE:COLUMN of an offset, both from 1, the column in characters: as compilers write it."""
    return f"{path}:{text.count(chr(10), 0, offset) + 1}:{offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"


def missing_folders(path):
    """The folders that have to be made before `path` can be, the outermost first."""
    missing = []
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def replace(path, text, mode=0o644):
    """Puts `text` in the place of the file: whoever reads it meanwhile, or after a power cut, sees the old or the new."""
    folder, beside = os.path.dirname(path), _beside(path)
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    try:
        clean(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            if old:
                _resemble(file.fileno(), path, old)
            else:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(beside, path)
        _sync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            clean(path)
        raise Refused(f"{path}: cannot be replaced: {error.strerror}{_advice(error)}; it is as it was") from error


def remove(path):
    """Removes the file; one that is gone already is fine."""
    try:
        clean(path)
        _remove(path)
        _sync(os.path.dirname(path))
    except OSError as error:
        raise Refused(f"{path}: cannot be removed: {error.strerror}{_advice(error)}") from error


def clean(path):
    """Removes what a killed `replace` may have left beside the file."""
    _remove(_beside(path))


def _beside(path):
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.myrt-new")


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _resemble(descriptor, path, old):
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    try:
        for name in os.listxattr(path):
            os.setxattr(descriptor, name, os.getxattr(path, name))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENODATA):
            raise


def _sync(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _advice(error):
    return {
        errno.EACCES: " (run this as root)",
        errno.EBUSY: " (something is mounted on it: change the file that it shows)",
        errno.EPERM: " (does it carry the immutable attribute? see lsattr)",
        errno.EROFS: " (its filesystem is read-only)",
        errno.ENOSPC: " (the filesystem is full)",
    }.get(error.errno, "")
