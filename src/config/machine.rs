//! How much memory the machine, or the container around this process, has.

use std::fs;

/// What a container without a limit has in cgroup v1 is the largest multiple of a page; nothing
/// near it is a limit.
const NO_LIMIT: u64 = 1 << 60;

/// In bytes: the machine's memory or the container's limit, whichever is less. `None` where neither
/// can be found out.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    smallest(|path| fs::read_to_string(path).ok())
}

/// `read` gives the text of a file, if there is one.
fn smallest(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| memory_total(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(group).flat_map(|(mount, path, file)| {
        // A group's limit holds for the groups in it. In a container the path may be the host's and
        // lead nowhere; the last one asked, the root of the mount, is then the container's own.
        let mut path = path.trim_end_matches('/');
        let mut found = Vec::new();
        loop {
            found.extend(read(&format!("{mount}{path}/{file}")).and_then(|text| limit(&text)));
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => return found,
            }
        }
    });
    machine.into_iter().chain(limits).min()
}

/// A line of `/proc/self/cgroup` that is about memory: where its files are.
fn group(line: &str) -> Option<(&'static str, &str, &'static str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    if controllers.is_empty() {
        Some(("/sys/fs/cgroup", path, "memory.max"))
    } else if controllers.split(',').any(|controller| controller == "memory") {
        Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
    } else {
        None
    }
}

/// `max` is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

fn memory_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:  8000 kB\nMemFree: 1 kB\n");

    fn found(files: &[(&str, &str)]) -> Option<u64> {
        smallest(|path| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn without_a_container_it_is_the_machines() {
        assert_eq!(found(&[MACHINE]), Some(8000 * 1024));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("/proc/meminfo", "MemTotal: much")]), None);
    }

    #[test]
    fn a_limit_of_cgroup_v2_counts_on_the_way_up_to_the_root() {
        let group = ("/proc/self/cgroup", "0::/system.slice/dunlin.service\n");
        let outer = ("/sys/fs/cgroup/system.slice/memory.max", "4096\n");
        let inner = ("/sys/fs/cgroup/system.slice/dunlin.service/memory.max", "max\n");

        assert_eq!(found(&[MACHINE, group, outer, inner]), Some(4096));
        assert_eq!(found(&[MACHINE, group, inner]), Some(8000 * 1024));
    }

    #[test]
    fn a_containers_own_root_counts_in_both_versions() {
        let two = [MACHINE, ("/proc/self/cgroup", "0::/"), ("/sys/fs/cgroup/memory.max", "77\n")];
        // The path is the host's and does not exist in here.
        let one = [
            MACHINE,
            ("/proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/docker/0123\n0::/x\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "88\n"),
        ];

        assert_eq!(found(&two), Some(77));
        assert_eq!(found(&one), Some(88));
    }

    #[test]
    fn what_cgroup_v1_says_where_there_is_no_limit_is_none() {
        let group = ("/proc/self/cgroup", "4:memory:/");
        let limit = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");

        assert_eq!(found(&[MACHINE, group, limit]), Some(8000 * 1024));
        assert_eq!(found(&[group, limit]), None);
    }
}
