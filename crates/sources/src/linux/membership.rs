//! Which memory cgroup a process is in and where that lies in the file system. Pure.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Component, PathBuf},
};

use procfs::{FromRead, ProcessCGroup, ProcessCGroups, process::MountInfo};

/// The two kinds of cgroup hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One directory that may be the memory cgroup of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) version: Version,
    /// The cgroup as the process sees it, such as `/docker/ab12`.
    pub(crate) cgroup: PathBuf,
    /// Where the hierarchy is mounted.
    pub(crate) mount_point: PathBuf,
    /// The cgroup's directory below the mount point; empty when it is the mount's own root.
    pub(crate) below: PathBuf,
}

/// Why the texts tell no candidate although there should be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MembershipError {
    #[error("no line of the cgroup file can be read")]
    Unreadable,
    #[error("cgroup {} is not below any mounted memory hierarchy", .0.display())]
    NotMounted(PathBuf),
}

/// Finds the directories to try, best first, from the texts of `/proc/[pid]/cgroup` and
/// `/proc/[pid]/mountinfo`. Empty where the process is in no memory cgroup.
///
/// A controller is attached to one hierarchy only, so a membership in version 1 with the memory
/// controller settles it: on a host that mounts both, version 2 is there without memory. Where the
/// hierarchy is mounted more than once, the mount that shows more ancestors comes first.
///
/// # Errors
/// When the hierarchy is in use but no mount shows the cgroup, or when no line can be read.
pub(crate) fn candidates(
    cgroup: &[u8],
    mountinfo: &[u8],
) -> Result<Vec<Candidate>, MembershipError> {
    let Some(membership) = membership(cgroup)? else { return Ok(Vec::new()) };
    let mounts = cgroup_mounts(mountinfo);
    let found: Vec<Candidate> =
        mounts.iter().filter_map(|mount| mount.candidate(&membership)).collect();
    if found.is_empty() && membership.matters(&mounts) {
        return Err(MembershipError::NotMounted(membership.path));
    }
    Ok(found)
}

#[derive(Debug)]
struct Membership {
    version: Version,
    path: PathBuf,
}

impl Membership {
    // Every process is in a cgroup of version 2; without a mount of it nobody uses it.
    fn matters(&self, mounts: &[Mount]) -> bool {
        self.version == Version::V1 || mounts.iter().any(|mount| mount.version == self.version)
    }
}

#[derive(Debug)]
struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn candidate(&self, membership: &Membership) -> Option<Candidate> {
        if self.version != membership.version {
            return None;
        }
        // In a container without a namespace of its own the mount's root is the container's cgroup
        // and the path starts with it; with one, both are relative to it. What needs a step up from
        // the mount's root lies outside the mount.
        let below = membership.path.strip_prefix(&self.root).ok()?;
        if below.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        Some(Candidate {
            version: self.version,
            cgroup: membership.path.clone(),
            mount_point: self.point.clone(),
            below: below.to_path_buf(),
        })
    }
}

/// The membership that holds the memory. Named hierarchies have no controller and stand there as
/// `name=...`, so they are never it.
fn membership(cgroup: &[u8]) -> Result<Option<Membership>, MembershipError> {
    // Line by line: one that cannot be read must not hide the others.
    let lines: Vec<_> = cgroup
        .split(|&byte| byte == b'\n')
        .filter_map(|line| ProcessCGroups::from_read(line).ok())
        .flatten()
        .collect();
    if lines.is_empty() && !cgroup.trim_ascii().is_empty() {
        return Err(MembershipError::Unreadable);
    }
    let v1 = lines.iter().find(|line| line.controllers.iter().any(|name| name == "memory"));
    let v2 = lines.iter().find(|line| line.hierarchy == 0 && line.controllers.is_empty());
    let of = |version| {
        move |line: &ProcessCGroup| Membership { version, path: PathBuf::from(&line.pathname) }
    };
    Ok(v1.map(of(Version::V1)).or_else(|| v2.map(of(Version::V2))))
}

/// The mounts that can show a memory cgroup, those with the most ancestors first.
fn cgroup_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
        .filter_map(|line| MountInfo::from_line(line).ok())
        .filter_map(|mount| {
            let version = match mount.fs_type.as_str() {
                "cgroup" if mount.super_options.contains_key("memory") => Version::V1,
                "cgroup2" => Version::V2,
                _ => return None,
            };
            Some(Mount {
                version,
                root: unescape(mount.root.into_bytes()),
                point: unescape(mount.mount_point.into_os_string().into_vec()),
            })
        })
        .collect();
    mounts.sort_by_key(|mount| mount.root.components().count());
    mounts
}

/// Undoes the escapes of mountinfo: space, tab, newline and backslash stand there as a backslash
/// and three octal digits (proc_pid_mountinfo(5)); the parser leaves them as they are.
fn unescape(text: Vec<u8>) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while let Some((&first, after)) = rest.split_first() {
        match (first, octal(after)) {
            (b'\\', Some((byte, after))) => {
                plain.push(byte);
                rest = after;
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain).into()
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_at_checked(3)?;
    let value = digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1_MOUNT: &str =
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const V2_MOUNT: &str = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

    fn found(cgroup: &str, mountinfo: &str) -> Result<Vec<Candidate>, MembershipError> {
        candidates(cgroup.as_bytes(), mountinfo.as_bytes())
    }

    fn below(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
        found(cgroup, mountinfo).unwrap().into_iter().map(|one| one.below).collect()
    }

    #[test]
    fn the_memory_controller_on_version_1_settles_it() {
        let mounts = format!("{V2_MOUNT}{V1_MOUNT}");
        let found = found("0::/a\n9:name=systemd:/x\n4:cpu,memory:/b\n", &mounts).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].version, &found[0].cgroup), (Version::V1, &PathBuf::from("/b")));
    }

    #[test]
    fn a_named_hierarchy_is_never_the_memory_cgroup() {
        assert_eq!(found("9:name=memory:/x\n", V1_MOUNT), Ok(Vec::new()));
    }

    #[test]
    fn the_mount_root_is_taken_off_the_path() {
        let mount = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(below("4:memory:/docker/ab\n", mount), [PathBuf::new()]);
        assert_eq!(below("4:memory:/docker/ab/child\n", mount), [PathBuf::from("child")]);
    }

    #[test]
    fn a_cgroup_outside_the_mount_is_an_error_and_not_the_mount() {
        let elsewhere =
            "35 31 0:32 /docker/cd /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for cgroup in ["4:memory:/docker/ab\n", "4:memory:/docker/cdx\n"] {
            assert!(matches!(found(cgroup, elsewhere), Err(MembershipError::NotMounted(_))));
        }
        // A namespace whose mount was made outside it, and a process moved out of its namespace.
        let outside = "35 31 0:32 /../.. /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert!(found("4:memory:/\n", outside).is_err());
        assert!(found("4:memory:/../other\n", V1_MOUNT).is_err());
        // Both outside, and the way from one to the other is known.
        assert_eq!(below("4:memory:/../../other\n", outside), [PathBuf::from("other")]);
    }

    #[test]
    fn the_mount_that_shows_more_ancestors_wins() {
        let mounts = format!(
            "36 31 0:33 /a/b /inner rw - cgroup2 cgroup2 rw\n{V2_MOUNT}37 31 0:33 /a /mid rw - cgroup2 c rw\n"
        );
        let points: Vec<_> =
            found("0::/a/b/c\n", &mounts).unwrap().into_iter().map(|one| one.mount_point).collect();
        assert_eq!(points, ["/sys/fs/cgroup", "/mid", "/inner"].map(PathBuf::from));
    }

    #[test]
    fn without_a_memory_hierarchy_there_is_nothing_to_find() {
        assert_eq!(found("", ""), Ok(Vec::new()));
        assert_eq!(found("0::/\n", ""), Ok(Vec::new()));
        assert_eq!(found("3:cpu:/a\n", V1_MOUNT), Ok(Vec::new()));
    }

    #[test]
    fn a_memory_cgroup_without_its_mount_is_an_error() {
        assert_eq!(
            found("4:memory:/a\n", ""),
            Err(MembershipError::NotMounted(PathBuf::from("/a")))
        );
    }

    #[test]
    fn broken_lines_do_not_hide_the_good_ones() {
        let mounts = format!("nonsense\n41 31\n\u{fffd}\n{V1_MOUNT}");
        assert_eq!(below("nonsense\n4:memory\n4:memory:/a\n", &mounts), [PathBuf::from("a")]);
        let mut raw = b"1:cpu:/\xff\n".to_vec();
        raw.extend_from_slice(b"4:memory:/a\n");
        assert_eq!(candidates(&raw, V1_MOUNT.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_cgroup_file_of_nonsense_is_an_error() {
        assert_eq!(found("nonsense\n", V1_MOUNT), Err(MembershipError::Unreadable));
    }

    #[test]
    fn escapes_of_mountinfo_are_undone() {
        let mount = "35 31 0:32 /a\\040b /mnt/my\\134\\040group rw - cgroup2 cgroup2 rw\n";
        let found = found("0::/a b/c\n", mount).unwrap();
        assert_eq!(found[0].mount_point, PathBuf::from("/mnt/my\\ group"));
        assert_eq!(found[0].below, PathBuf::from("c"));
        // What is no escape stays as it is.
        for plain in ["\\", "\\04", "\\08x", "\\777", "a\\0"] {
            assert_eq!(unescape(plain.as_bytes().to_vec()), PathBuf::from(plain));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(cgroup: Vec<u8>, mountinfo: Vec<u8>) {
            let _ = candidates(&cgroup, &mountinfo);
        }

        #[test]
        fn a_candidate_never_leaves_its_mount(
            cgroup in r"([0-9]{1,2}:(memory|cpu|name=x|):(/|\.\.|a|b|\\040| ){0,6}\n){0,4}",
            mountinfo in r"([0-9] [0-9] 0:1 (/|/a|/\.\.|/a/b|/a\\040) /m rw - cgroup2? c (rw|memory)\n){0,4}",
        ) {
            for one in candidates(cgroup.as_bytes(), mountinfo.as_bytes()).unwrap_or_default() {
                prop_assert!(one.below.is_relative());
                prop_assert!(!one.below.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
