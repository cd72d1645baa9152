//! The folders of what is being added, as long as something may still come into them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ues_data::unixfs::{Imported, MAX_NESTING};
use ues_pins::intake::IntakeError;

use super::invalid;

/// The longest path, in bytes.
const MAX_PATH: usize = 4096;
/// What an entry takes in memory beside its name, in bytes; rather too much than too little.
const ENTRY: usize = 256;
/// What a folder takes in memory while it is open, in bytes.
const FOLDER: usize = 3 << 10;

/// A folder that is not complete.
#[derive(Debug, Default)]
pub(super) struct Folder {
    stored: BTreeMap<String, Imported>,
    open: BTreeMap<String, Folder>,
}

/// All folders below an outermost one.
#[derive(Debug)]
pub(super) struct Tree {
    root: Folder,
    /// Bytes it takes in memory, roughly.
    used: usize,
    max: usize,
    /// When complete folders are looked for, so that there is room again.
    tidy_at: usize,
}

/// The names of a path, each fit for a directory; none for the empty path.
pub(super) fn names(path: &str) -> Result<Vec<&str>, IntakeError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let shown: String = path.chars().take(64).collect();
    if path.len() > MAX_PATH {
        return Err(invalid(format!(
            "{shown:?}…: a path of at most {MAX_PATH} bytes expected"
        )));
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > MAX_NESTING {
        return Err(invalid(format!(
            "{shown:?}…: folders nested deeper than {MAX_NESTING}"
        )));
    }
    let bad = |name: &&str| matches!(*name, "" | "." | "..") || name.contains('\0');
    if names.iter().any(bad) {
        return Err(invalid(format!("{shown:?}: not a path below a folder")));
    }
    Ok(names)
}

impl Tree {
    /// An empty one that takes at most so many bytes in memory.
    pub(super) fn new(max: usize) -> Self {
        Self {
            root: Folder::default(),
            used: 0,
            max,
            tidy_at: max / 2,
        }
    }

    /// Whether something but this is open in the outermost folder.
    pub(super) fn is_elsewhere(&self, name: Option<&str>) -> bool {
        self.root
            .open
            .keys()
            .any(|open| Some(open.as_str()) != name)
    }

    /// Whether it is time to complete what can be completed.
    pub(super) const fn is_tight(&self) -> bool {
        self.used > self.tidy_at
    }

    /// To be called after everything was completed that could be.
    pub(super) fn tidied(&mut self) {
        self.tidy_at = self.used + self.max / 8;
    }

    /// Opens a folder and those above it.
    pub(super) fn open(&mut self, names: &[&str]) -> Result<(), IntakeError> {
        self.folder(names).map(|_| ())
    }

    /// Makes sure that a file or link can be put here; opens the folders above it.
    pub(super) fn reserve(&mut self, names: &[&str]) -> Result<(), IntakeError> {
        let Some((name, above)) = names.split_last() else {
            return Ok(());
        };
        if self.folder(above)?.open.contains_key(*name) {
            return Err(invalid(format!("{}: there is a folder", names.join("/"))));
        }
        Ok(())
    }

    /// Puts in what was stored. The same thing may come twice.
    pub(super) fn put(&mut self, names: &[&str], made: Imported) -> Result<(), IntakeError> {
        let Some((name, above)) = names.split_last() else {
            return Ok(());
        };
        match self.folder(above)?.stored.insert((*name).to_owned(), made) {
            None => self.take(ENTRY + name.len()),
            Some(old) if old == made => Ok(()),
            Some(_) => Err(invalid(format!("{}: sent twice", names.join("/")))),
        }
    }

    /// Takes out a folder whose folders are all complete, with its path; leaves those that lead to `keep`, and what is
    /// in the last of them.
    pub(super) fn take_complete(&mut self, keep: &[&str]) -> Option<(Vec<String>, Folder)> {
        let mut path = Vec::new();
        let mut keep = keep.iter();
        let mut kept = keep.next();
        let mut folder = &mut self.root;
        loop {
            let other = folder.open.keys().find(|name| Some(&name.as_str()) != kept);
            let name = match other.cloned() {
                Some(name) => {
                    keep = [].iter();
                    kept = None;
                    name
                }
                None => {
                    let name = (*kept?).to_owned();
                    kept = keep.next();
                    // Below the last of them is what is wanted: nothing is complete there.
                    kept?;
                    name
                }
            };
            path.push(name);
            let name = path.last()?;
            let is_complete = folder.open.get(name)?.open.is_empty();
            if is_complete && kept.is_none() {
                let taken = folder.open.remove(name)?;
                self.used = self.used.saturating_sub(FOLDER + name.len() + taken.cost());
                return Some((path, taken));
            }
            folder = folder.open.get_mut(name)?;
        }
    }

    /// The outermost folder, once all others are complete.
    pub(super) fn into_root(self) -> Folder {
        self.root
    }

    /// The folder of this path, opened if it is not there.
    fn folder(&mut self, names: &[&str]) -> Result<&mut Folder, IntakeError> {
        let mut added = 0;
        let mut folder = &mut self.root;
        for (at, name) in names.iter().enumerate() {
            if folder.stored.contains_key(*name) {
                let path = names.get(..=at).unwrap_or_default().join("/");
                return Err(invalid(format!(
                    "{path}: a file, or a folder that was complete; what is in a folder has to come together"
                )));
            }
            let next = folder.open.entry((*name).to_owned());
            if matches!(next, Entry::Vacant(_)) {
                added += FOLDER + name.len();
            }
            folder = next.or_default();
        }
        self.used += added;
        check(self.used, self.max)?;
        Ok(folder)
    }

    fn take(&mut self, bytes: usize) -> Result<(), IntakeError> {
        self.used += bytes;
        check(self.used, self.max)
    }
}

fn check(used: usize, max: usize) -> Result<(), IntakeError> {
    if used <= max {
        return Ok(());
    }
    Err(invalid(
        "too many entries in one folder: divide it into several",
    ))
}

impl Folder {
    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }

    /// Its entries, by name.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, Imported)> {
        self.stored.into_iter()
    }

    fn cost(&self) -> usize {
        self.stored.keys().map(|name| ENTRY + name.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ues_data::raw_cid;

    use super::*;

    fn made(number: u32) -> Imported {
        Imported {
            cid: raw_cid(&number.to_be_bytes()),
            total_size: 4,
        }
    }

    fn complete(tree: &mut Tree, keep: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        while let Some((path, folder)) = tree.take_complete(keep) {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            tree.put(&names, made(folder.len() as u32)).unwrap();
            found.push(path.join("/"));
        }
        found
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "/", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\0/b",
        ] {
            let path = path.replace("\\0", "\0");
            assert!(names(&path).is_err(), "{path:?}");
        }
        assert!(names(&"a/".repeat(3000)).is_err());
        assert!(names(&format!("{}a", "a/".repeat(MAX_NESTING))).is_err());
        assert!(names(&format!("{}a", "a/".repeat(MAX_NESTING - 1))).is_ok());
        assert_eq!(names("").unwrap(), Vec::<&str>::new());
        assert_eq!(names("a b/…/..c").unwrap(), ["a b", "…", "..c"]);
    }

    #[test]
    fn children_come_before_their_folder() {
        let mut tree = Tree::new(1 << 20);
        for path in ["d/b/x", "d/a/y/z", "e/f", "d/w"] {
            tree.reserve(&names(path).unwrap()).unwrap();
            tree.put(&names(path).unwrap(), made(0)).unwrap();
        }
        tree.open(&["d", "empty"]).unwrap();
        assert!(tree.is_elsewhere(Some("d")));
        assert_eq!(
            complete(&mut tree, &["d", "b", "n"]),
            ["e", "d/a/y", "d/a", "d/empty"]
        );
        assert!(!tree.is_elsewhere(Some("d")));
        assert!(tree.reserve(&["d", "a", "late"]).is_err());
        tree.put(&["d", "b", "n"], made(1)).unwrap();
        tree.put(&["d", "b", "n"], made(1)).unwrap();
        assert!(tree.put(&["d", "b", "n"], made(2)).is_err());
        assert!(tree.reserve(&["d", "b"]).is_err(), "a folder");
        assert!(tree.open(&["d", "w", "v"]).is_err(), "a file");
        assert_eq!(complete(&mut tree, &[]), ["d/b", "d"]);
        assert_eq!(tree.into_root().len(), 2);
    }

    #[test]
    fn a_folder_has_only_so_many_entries() {
        let mut tree = Tree::new(100_000);
        let full = (0..1000).find(|n| tree.put(&["d", &n.to_string()], made(0)).is_err());
        assert!(full.is_some_and(|n| n > 300), "{full:?}");
        let mut deep = Tree::new(100_000);
        assert!(deep.open(&["a"; 100]).is_err());
    }

    proptest! {
        #[test]
        fn all_is_accounted_for(
            paths in prop::collection::vec(prop::collection::vec("[a-c]", 1..5), 0..30),
            keep in prop::collection::vec("[a-c]", 0..4),
        ) {
            let mut tree = Tree::new(1 << 20);
            for path in &paths {
                let path: Vec<&str> = path.iter().map(String::as_str).chain(["file"]).collect();
                tree.reserve(&path).unwrap();
                tree.put(&path, made(7)).unwrap();
            }
            let kept: Vec<&str> = keep.iter().map(String::as_str).collect();
            complete(&mut tree, &kept);
            let mut folder = &tree.root;
            for name in &kept {
                prop_assert!(folder.open.keys().all(|open| open == name));
                match folder.open.get(*name) {
                    Some(below) => folder = below,
                    None => break,
                }
            }
            complete(&mut tree, &[]);
            prop_assert!(tree.root.open.is_empty());
            prop_assert_eq!(tree.used, tree.root.cost());
        }
    }
}
