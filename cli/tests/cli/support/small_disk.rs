//! A disk that becomes full, or read-only.

use std::path::Path;
use std::process::Command;

/// A file system in memory, of a size; unmounted when dropped.
pub struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    /// `None` where this is not allowed.
    pub fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        mount(at, &["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).then_some(SmallDisk(at))
    }

    pub fn grow(&self) {
        assert!(mount(self.0, &["-o", "remount,size=512m"]), "the disk grows");
    }

    pub fn set_writable(&self, writable: bool) {
        let mode = if writable { "remount,rw" } else { "remount,ro" };
        assert!(mount(self.0, &["-o", mode]), "{mode}");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn mount(at: &Path, args: &[&str]) -> bool {
    Command::new("mount").args(args).arg(at).output().is_ok_and(|output| output.status.success())
}
