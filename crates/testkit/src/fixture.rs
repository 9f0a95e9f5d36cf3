//! Files below a directory of their own, gone when the test is over.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A directory with files in it, removed on drop; a stand-in for `/` to a reader of `/proc`.
///
/// Paths are relative to the tree and stay in it. Being for tests, it panics where a file system
/// call fails.
///
/// ```
/// use plimsoll_testkit::FixtureTree;
///
/// let tree = FixtureTree::new()
///     .file("proc/self/statm", "2000 350 120 1 0 300 0\n")
///     .file("proc/meminfo", "MemTotal: 8000000 kB\n");
/// let statm = std::fs::read_to_string(tree.path().join("proc/self/statm")).expect("written");
/// assert!(statm.starts_with("2000 "));
///
/// let path = tree.path().to_path_buf();
/// drop(tree);
/// assert!(!path.exists());
/// ```
#[derive(Debug)]
pub struct FixtureTree {
    root: PathBuf,
}

impl FixtureTree {
    /// Makes an empty tree in the system's directory for temporary files.
    ///
    /// # Panics
    /// When the directory cannot be made.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let temporary = env::temp_dir();
        // A run that was killed can have left a directory of the same name: take the next one.
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let root = temporary.join(format!("plimsoll-fixture-{}-{number}", process::id()));
            match fs::create_dir(&root) {
                Ok(()) => return Self { root },
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", root.display()),
            }
        }
    }

    /// Adds a file with its directories; replaces the content of one that is there.
    ///
    /// # Panics
    /// When it cannot be written, or `path` leaves the tree.
    #[must_use]
    pub fn file(self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Adds every file of an archive in the txtar format, which keeps a whole tree in one text that
    /// people can read: a line `-- path --` begins a file, which lasts until the next such line. What
    /// stands above the first is a comment.
    ///
    /// ```
    /// # use plimsoll_testkit::FixtureTree;
    /// let tree = FixtureTree::new().archive(
    ///     "A machine of 8 GB.\n\
    ///      -- proc/meminfo --\n\
    ///      MemTotal: 8000000 kB\n\
    ///      -- proc/self/cgroup --\n\
    ///      0::/\n",
    /// );
    /// let cgroup = std::fs::read_to_string(tree.path().join("proc/self/cgroup")).expect("written");
    /// assert_eq!(cgroup, "0::/\n");
    /// ```
    ///
    /// # Panics
    /// When a file cannot be written, or its path leaves the tree.
    #[must_use]
    pub fn archive(self, text: &str) -> Self {
        let mut file: Option<(&str, String)> = None;
        for line in text.split_inclusive('\n') {
            if let Some(path) = archived_path(line) {
                if let Some((path, content)) = file.replace((path, String::new())) {
                    self.write(path, content);
                }
            } else if let Some((_, content)) = &mut file {
                content.push_str(line);
            }
        }
        if let Some((path, content)) = file {
            self.write(path, content);
        }
        self
    }

    /// Adds an empty directory.
    ///
    /// # Panics
    /// When it cannot be made, or `path` leaves the tree.
    #[must_use]
    pub fn directory(self, path: impl AsRef<Path>) -> Self {
        let path = self.inside(path.as_ref());
        check(fs::create_dir_all(&path), "make", &path);
        self
    }

    /// Adds a symbolic link at `path` to `target`, which may lie anywhere.
    ///
    /// # Panics
    /// When it cannot be made, or `path` leaves the tree.
    #[cfg(unix)]
    #[must_use]
    pub fn link(self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        let path = self.inside(path.as_ref());
        self.make_parent(&path);
        check(std::os::unix::fs::symlink(target, &path), "link", &path);
        self
    }

    /// Writes a file while the tree is in use. The file stays the same one, so a reader that keeps
    /// it open sees the new content.
    ///
    /// # Panics
    /// When it cannot be written, or `path` leaves the tree.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.inside(path.as_ref());
        self.make_parent(&path);
        check(fs::write(&path, content), "write", &path);
    }

    /// Removes a file, or a directory with all that is in it.
    ///
    /// # Panics
    /// When it is not there, cannot be removed, or `path` leaves the tree.
    pub fn remove(&self, path: impl AsRef<Path>) {
        let path = self.inside(path.as_ref());
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        check(removed, "remove", &path);
    }

    /// Where the tree is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn inside(&self, path: &Path) -> PathBuf {
        let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(stays, "{} is no path inside the tree", path.display());
        self.root.join(path)
    }

    fn make_parent(&self, path: &Path) {
        let parent = path.parent().unwrap_or(&self.root);
        check(fs::create_dir_all(parent), "make", parent);
    }
}

impl Default for FixtureTree {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FixtureTree {
    fn drop(&mut self) {
        // A test that has passed does not fail over what is left in a temporary directory.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn archived_path(line: &str) -> Option<&str> {
    let path = line.trim_end().strip_prefix("-- ")?.strip_suffix(" --")?.trim();
    (!path.is_empty()).then_some(path)
}

fn check<T>(result: std::io::Result<T>, verb: &str, path: &Path) -> T {
    result.unwrap_or_else(|error| panic!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;

    #[test]
    fn files_appear_change_and_go() {
        let tree = FixtureTree::new().file("a/b", "one").directory("a/c");
        let at = |path: &str| fs::read_to_string(tree.path().join(path)).unwrap();
        assert_eq!(at("a/b"), "one");
        assert!(tree.path().join("a/c").is_dir());
        tree.write("a/b", "two");
        assert_eq!(at("a/b"), "two");
        tree.remove("a/b");
        assert!(!tree.path().join("a/b").exists());
        tree.remove("a");
        assert!(!tree.path().join("a").exists());
    }

    #[test]
    fn a_kept_descriptor_sees_what_is_written_later() {
        let tree = FixtureTree::new().file("a", "one");
        let mut kept = File::open(tree.path().join("a")).unwrap();
        tree.write("a", "two");
        let mut text = String::new();
        kept.read_to_string(&mut text).unwrap();
        assert_eq!(text, "two");
    }

    #[test]
    fn trees_are_apart() {
        let one = FixtureTree::new().file("a", "x");
        let two = FixtureTree::new().file("a", "y");
        one.remove("a");
        assert_eq!(fs::read_to_string(two.path().join("a")).unwrap(), "y");
    }

    #[test]
    fn an_archive_unpacks_to_its_files() {
        let tree =
            FixtureTree::new().archive("note\n-- a b/c --\none\n\n-- --\n-- d --\n-- e --\nlast");
        let at = |path: &str| fs::read_to_string(tree.path().join(path)).unwrap();
        assert_eq!(at("a b/c"), "one\n\n-- --\n");
        assert_eq!(at("d"), "");
        assert_eq!(at("e"), "last");
    }

    #[test]
    #[should_panic(expected = "no path inside the tree")]
    fn a_path_that_climbs_is_refused() {
        FixtureTree::new().write("a/../../b", "x");
    }

    #[test]
    #[should_panic(expected = "no path inside the tree")]
    fn an_absolute_path_is_refused() {
        FixtureTree::new().write("/plimsoll-nowhere", "x");
    }

    #[cfg(unix)]
    #[test]
    fn removing_the_tree_spares_what_a_link_points_to() {
        let kept = FixtureTree::new().file("a", "x");
        drop(FixtureTree::new().link("link", kept.path()));
        assert!(kept.path().join("a").exists());
    }
}
