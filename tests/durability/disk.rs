//! Small file systems of a test's own, which can lose their power and run full. They need root:
//! where that is missing a test says so and is not done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::Folder;

/// `XFS_IOC_GOINGDOWN`, which ext4 knows by the same number: all that is not on the disk is dropped,
/// with what its own journal has not flushed (`NOLOGFLUSH`, 2).
const GOING_DOWN: &str = "\
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
";

#[derive(Debug)]
pub(crate) struct Disk {
    kind: Kind,
    folder: Folder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ext4,
    Memory,
}

impl Disk {
    /// An ext4 in a file on a loop device, or the reason why there is none.
    pub(crate) fn ext4(mebibytes: u64) -> Option<Self> {
        let disk = Self { kind: Kind::Ext4, folder: Folder::new() };
        let image = File::create(disk.image()).expect("a file for the disk");
        image.set_len(mebibytes * 1024 * 1024).expect("a file of that size");
        fs::create_dir(disk.mount()).expect("a folder to mount it");
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(disk.image()));
        disk.or_skipped(made)
    }

    /// A file system of a limited size in memory.
    pub(crate) fn memory(mebibytes: u64) -> Option<Self> {
        let disk = Self { kind: Kind::Memory, folder: Folder::new() };
        fs::create_dir(disk.mount()).expect("a folder to mount it");
        let size = format!("size={mebibytes}m");
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "durability"])
            .arg(disk.mount()));
        disk.or_skipped(mounted)
    }

    /// Where a broker is to store.
    pub(crate) fn data(&self) -> PathBuf {
        self.mount().join("data")
    }

    /// All that was not synced is gone, and the file system answers with errors until `power_up`.
    pub(crate) fn power_down(&self) {
        run(Command::new("python3").args(["-c", GOING_DOWN]).arg(self.mount()))
            .expect("an ext4 can be shut down");
    }

    pub(crate) fn power_up(&self) {
        run(Command::new("umount").arg(self.mount())).expect("it can be unmounted");
        self.mount_image().expect("it can be mounted again");
    }

    /// Takes all the space there is.
    pub(crate) fn fill(&self) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.mount().join("filler"))
            .expect("a file to fill the disk");
        for size in [1024 * 1024, 4096, 1] {
            let bytes = vec![b'x'; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.mount().join("filler")).expect("the filler can be removed");
    }

    fn image(&self) -> PathBuf {
        self.folder.path.join("image")
    }

    fn mount(&self) -> PathBuf {
        self.folder.path.join("mount")
    }

    fn or_skipped(self, made: Result<(), String>) -> Option<Self> {
        let mounted = made.and_then(|()| match self.kind {
            Kind::Ext4 => self.mount_image(),
            Kind::Memory => Ok(()),
        });
        match mounted {
            Ok(()) => Some(self),
            Err(why) if is_root() && fs::exists("/dev/loop-control").unwrap_or(false) => {
                panic!("no file system for the test: {why}")
            }
            Err(why) => {
                // Not by a macro, whose output nobody sees of a test that passes.
                let _ = writeln!(
                    io::stderr(),
                    "SKIPPED, for a file system can only be made and mounted by root: {why}"
                );
                None
            }
        }
    }

    /// Its own journal commits rarely, so that what the broker does not sync is not on the disk.
    fn mount_image(&self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop,commit=600"]).arg(self.image()).arg(self.mount()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // With whatever a failed test has still open there.
        let _ = run(Command::new("umount").arg("-l").arg(self.mount()));
    }
}

/// What the files below a folder take of the disk.
pub(crate) fn used_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // Removed meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{command:?}: {told}"))
}

/// A disk that loses nothing would prove nothing.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
        let Some(disk) = Disk::ext4(16) else { return };
        let path = disk.data();
        let mut file = File::create(&path).expect("a file");
        file.write_all(b"synced").expect("a write");
        file.sync_data().expect("a sync");
        File::open(disk.mount()).expect("a directory").sync_all().expect("a sync");
        file.write_all(b" and not synced").expect("a write");

        disk.power_down();

        assert!(file.write_all(b"no more").is_err(), "a disk without power takes nothing");
        drop(file);
        disk.power_up();
        assert_eq!(fs::read(&path).expect("it was synced"), b"synced");
    }

    #[test]
    fn a_disk_can_be_filled_and_freed() {
        for disk in [Disk::ext4(16), Disk::memory(16)].into_iter().flatten() {
            let mut file = File::create(disk.data()).expect("a file");

            disk.fill();

            assert!(file.write_all(&[b'x'; 4096]).is_err());
            disk.free();
            file.write_all(&[b'x'; 4096]).expect("there is space again");
        }
    }
}
