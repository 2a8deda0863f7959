//! Which control group hierarchies this host has, and where in them our groups can be made.
//!
//! | host | memory, pids, cpu | entered | ended | killed for memory |
//! |---|---|---|---|---|
//! | v1 | from each controller's tree | by `tasks`, before it runs | by its init | eventfd |
//! | v2 | from the one tree | by `CLONE_INTO_CGROUP` | by `cgroup.kill` | inotify |
//! | hybrid | each from the tree that has it | both | `cgroup.kill` in the v2 tree | as its tree |

use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuacct::CpuAcctController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{Cgroup, Hierarchy, Subsystem};
use rustix::fs::{Access, access};
use rustix::io::Errno;

/// What limits or counts, where this host has it; `cpuacct` is part of `cpu` on v2.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// Group of the warden and its daemon where groups with limits may hold no process themselves.
const WARDEN: &str = "warden";

/// Which of the kernel's two interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One hierarchy in which each session gets a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) version: Version,
    /// Our groups are made below.
    pub(crate) directory: PathBuf,
    /// Those of ours that it brings.
    pub(crate) controllers: Vec<String>,
    /// The warden stands in `directory` and must leave it before the limits work.
    must_leave: bool,
}

/// Where this process stands in each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) trees: Vec<Tree>,
    /// Hierarchies in which this process may make nothing.
    closed: Vec<Version>,
    /// Why controllers that the host has cannot be used.
    pub(crate) obstacle: Option<String>,
}

/// What is mounted, by its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Nothing,
    V1,
    V2,
    Hybrid,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "none",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "v1 and v2",
        })
    }
}

impl Own {
    /// Looks at this process's groups and changes nothing.
    pub(crate) fn find() -> io::Result<Self> {
        Self::find_at(Path::new("/"), std::process::id(), &CONTROLLERS)
    }

    /// [`Self::find`] of process `pid` on the host whose files lie below `root`.
    pub(super) fn find_at(root: &Path, pid: u32, wanted: &[&str]) -> io::Result<Self> {
        let read = |name| fs::read_to_string(root.join(name));
        let mountinfo = read("proc/self/mountinfo")?;
        let cgroup = read("proc/self/cgroup")?;
        let mut own = Self::default();
        let mut closed = Vec::new();
        for name in wanted {
            let Some(directory) = place(root, &mountinfo, &cgroup, Some(name)) else {
                continue;
            };
            if is_closed(&directory) {
                closed.push((*name, directory));
                continue;
            }
            match own.trees.iter_mut().find(|it| it.directory == directory) {
                Some(tree) => tree.controllers.push((*name).to_owned()),
                None => own.trees.push(Tree {
                    version: Version::V1,
                    directory,
                    controllers: vec![(*name).to_owned()],
                    must_leave: false,
                }),
            }
        }
        own.closed.extend(closed.first().map(|_| Version::V1));
        own.obstacle = not_writable(&closed);
        if let Some((_, mount_point)) = mount_of(&mountinfo, None)
            && let Some(directory) = place(root, &mountinfo, &cgroup, None)
        {
            let top = below(root, mount_point);
            let is_left = |it: &str| !own.has(it) && !closed.iter().any(|(name, _)| *name == it);
            let wanted: Vec<&str> = wanted.iter().copied().filter(|it| is_left(it)).collect();
            own.join_unified(&top, &directory, pid, &wanted);
        }
        Ok(own)
    }

    /// Finds the nearest group, ours or above, that can give limits to groups below it.
    pub(super) fn join_unified(&mut self, top: &Path, own: &Path, pid: u32, wanted: &[&str]) {
        let available = controllers_of(top, wanted);
        let mut tree = Tree {
            version: Version::V2,
            directory: own.to_owned(),
            controllers: Vec::new(),
            must_leave: false,
        };
        let mut refusals = Vec::new();
        let groups = || own.ancestors().take_while(|it| it.starts_with(top));
        // systemd before 252 gives an ordinary user no cpu controller, which is only reported.
        let needed: Vec<String> = available
            .iter()
            .filter(|it| *it != "cpu")
            .cloned()
            .collect();
        for controllers in [&available, &needed] {
            refusals.clear();
            for directory in groups().filter(|_| !controllers.is_empty()) {
                match standing(directory, controllers, pid) {
                    Ok(must_leave) => {
                        tree.directory = directory.to_owned();
                        tree.controllers.clone_from(controllers);
                        tree.must_leave = must_leave;
                        self.trees.push(tree);
                        return;
                    }
                    Err(why) => refusals.push(format!("{}: {why}", directory.display())),
                }
            }
        }
        if !available.is_empty() {
            self.obstacle = Some(format!(
                "cgroup v2 has {}, but gives nothing to this process ({}); start the server as a \
                 systemd service or by `{}`",
                available.join(", "),
                refusals.join("; "),
                delegation_command()
            ));
        }
        // Still good for entering a group at birth and for ending all of it at once.
        if may_move_into(own) {
            self.trees.push(tree);
        } else {
            self.closed.push(Version::V2);
        }
    }

    /// Makes the node's groups ready for sessions; what fails is an obstacle, not an error.
    pub(crate) fn settle(&mut self, node: &str) {
        self.settle_as(node, std::process::id());
    }

    pub(super) fn settle_as(&mut self, node: &str, pid: u32) {
        for tree in &mut self.trees {
            if tree.version == Version::V1 || tree.controllers.is_empty() {
                continue;
            }
            if let Err(error) = tree.settle(node, pid) {
                self.obstacle = Some(format!(
                    "cgroup v2 in {} gives no limits: {error}",
                    tree.directory.display()
                ));
                tree.controllers.clear();
            }
        }
    }

    /// Undoes [`Self::settle`] when the last session is gone.
    pub(crate) fn leave(&self, node: &str) {
        for tree in &self.trees {
            tree.leave(node);
        }
    }

    /// Directories of a group by this name, one for each hierarchy.
    pub(crate) fn directories(&self, name: &str) -> Vec<PathBuf> {
        self.trees
            .iter()
            .map(|it| it.directory.join(name))
            .collect()
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.tree_with(controller).is_some()
    }

    pub(super) fn tree_with(&self, controller: &str) -> Option<&Tree> {
        self.trees
            .iter()
            .find(|it| it.controllers.iter().any(|it| it == controller))
    }

    pub(super) fn unified(&self) -> Option<&Tree> {
        self.trees.iter().find(|it| it.version == Version::V2)
    }

    pub(crate) fn layout(&self) -> Layout {
        let usable = self.trees.iter().map(|it| it.version);
        let versions: Vec<Version> = usable.chain(self.closed.iter().copied()).collect();
        let has = |version| versions.contains(&version);
        match (has(Version::V1), has(Version::V2)) {
            (false, false) => Layout::Nothing,
            (true, false) => Layout::V1,
            (false, true) => Layout::V2,
            (true, true) => Layout::Hybrid,
        }
    }

    /// The group's controllers, which know the file names of their version.
    pub(super) fn group(&self, name: &str) -> Cgroup {
        Cgroup::load(Box::new(self.clone()), name)
    }
}

impl Tree {
    fn settle(&mut self, node: &str, pid: u32) -> io::Result<()> {
        let group = self.directory.join(node);
        fs::create_dir_all(&group)?;
        if self.must_leave {
            let leaf = group.join(WARDEN);
            fs::create_dir_all(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), pid.to_string())?;
        }
        self.enable(&self.directory, |it| it != "cpu")?;
        // Real-time processes elsewhere may forbid it, and it is only reported when missing.
        if self.enable(&self.directory, |it| it == "cpu").is_err() {
            self.controllers.retain(|it| it != "cpu");
        }
        self.pass_on(&group)
    }

    /// Gives the groups below `directory` this tree's controllers.
    pub(super) fn pass_on(&self, directory: &Path) -> io::Result<()> {
        self.enable(directory, |_| true)
    }

    fn enable(&self, directory: &Path, which: impl Fn(&str) -> bool) -> io::Result<()> {
        let words: Vec<String> = self
            .controllers
            .iter()
            .filter(|it| which(it))
            .map(|it| format!("+{it}"))
            .collect();
        if words.is_empty() {
            return Ok(());
        }
        fs::write(directory.join("cgroup.subtree_control"), words.join(" "))
    }

    fn leave(&self, node: &str) {
        let group = self.directory.join(node);
        if self.must_leave {
            // A group that gives limits takes no process: first the limits, then the way back.
            for directory in [&group, &self.directory] {
                let words: Vec<String> =
                    self.controllers.iter().map(|it| format!("-{it}")).collect();
                let _in_use = fs::write(directory.join("cgroup.subtree_control"), words.join(" "));
            }
            let own = std::process::id().to_string();
            let _stays = fs::write(self.directory.join("cgroup.procs"), own);
            let _not_empty = fs::remove_dir(group.join(WARDEN));
        }
        // One that was never made, or that a stuck session still fills, is the next sweep's.
        let _left = fs::remove_dir(group);
    }
}

impl Hierarchy for Own {
    fn subsystems(&self) -> Vec<Subsystem> {
        let mut subsystems = Vec::new();
        for tree in &self.trees {
            let (root, is_v2) = (&tree.directory, tree.version == Version::V2);
            for controller in &tree.controllers {
                let root = root.clone();
                subsystems.extend(match controller.as_str() {
                    "memory" => Some(Subsystem::Mem(MemController::new(root, is_v2))),
                    "pids" => Some(Subsystem::Pid(PidController::new(root, is_v2))),
                    "cpu" => Some(Subsystem::Cpu(CpuController::new(root, is_v2))),
                    "cpuacct" => Some(Subsystem::CpuAcct(CpuAcctController::new(root))),
                    _ => None,
                });
            }
        }
        subsystems
    }

    fn root(&self) -> PathBuf {
        self.trees.first().map_or_else(
            || PathBuf::from("/sys/fs/cgroup"),
            |it| it.directory.clone(),
        )
    }

    fn root_control_group(&self) -> Cgroup {
        Cgroup::load(Box::new(self.clone()), "")
    }

    fn parent_control_group(&self, path: &str) -> Cgroup {
        let parent = Path::new(path).parent().unwrap_or(Path::new(""));
        Cgroup::load(Box::new(self.clone()), parent)
    }

    fn v2(&self) -> bool {
        self.layout() == Layout::V2
    }
}

/// How a group is had in which this user may make further ones.
fn delegation_command() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "systemd-run --scope -p Delegate=yes"
    } else {
        "systemd-run --user --scope -p Delegate=yes"
    }
}

/// Why v1 groups that this process is in are of no use.
fn not_writable(closed: &[(&str, PathBuf)]) -> Option<String> {
    let (_, first) = closed.first()?;
    let names: Vec<&str> = closed.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "this process may make no cgroups for {} (in {}); root can make one for each controller, \
         give it to this user by chown, and move the shell that starts the server there",
        names.join(", "),
        first.display()
    ))
}

/// Whether this process may change nothing at `path`.
fn is_closed(path: &Path) -> bool {
    matches!(
        access(path, Access::WRITE_OK),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}

/// Whether groups can be made below `directory`, and processes move from it into them.
fn may_move_into(directory: &Path) -> bool {
    !is_closed(directory) && !is_closed(&directory.join("cgroup.procs"))
}

/// Whether the warden must leave `directory` before groups below it have limits; or why they
/// never will.
fn standing(directory: &Path, controllers: &[String], pid: u32) -> Result<bool, String> {
    let read = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let names: Vec<&str> = controllers.iter().map(String::as_str).collect();
    if controllers_of(directory, &names).len() < controllers.len() {
        return Err("has not all of them".to_owned());
    }
    if access(directory.join("cgroup.subtree_control"), Access::WRITE_OK).is_err() {
        return Err("not writable".to_owned());
    }
    // The kernel's root group has no type, and alone may hold processes beside limited groups.
    let kind = read("cgroup.type");
    if kind.is_empty() {
        return Ok(false);
    }
    if kind.trim() != "domain" {
        return Err(format!("is of type `{}`", kind.trim()));
    }
    let processes = read("cgroup.procs");
    let others: Vec<&str> = processes
        .lines()
        .filter(|it| it.parse() != Ok(pid))
        .take(3)
        .collect();
    if others.is_empty() {
        Ok(!processes.trim().is_empty())
    } else {
        Err(format!(
            "holds other processes, such as {}",
            others.join(", ")
        ))
    }
}

fn controllers_of(directory: &Path, wanted: &[&str]) -> Vec<String> {
    let has = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    wanted
        .iter()
        .filter(|name| has.split_whitespace().any(|it| it == **name))
        .map(|it| (*it).to_owned())
        .collect()
}

/// Directory of our group in a controller's v1 tree, or in the v2 tree.
fn place(root: &Path, mountinfo: &str, cgroup: &str, controller: Option<&str>) -> Option<PathBuf> {
    let (mount_root, mount_point) = mount_of(mountinfo, controller)?;
    let path = Path::new(path_of(cgroup, controller)?);
    // Outside of what this process may see.
    if path.components().any(|it| it == Component::ParentDir) {
        return None;
    }
    // A container sees only a part of the tree: what is mounted is the root here.
    let inside = path.strip_prefix(mount_root).unwrap_or(Path::new(""));
    Some(below(&below(root, mount_point), inside))
}

fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
        .components()
        .collect()
}

/// Root and mount point of a controller's v1 tree, or of the v2 tree.
fn mount_of<'a>(mountinfo: &'a str, controller: Option<&str>) -> Option<(&'a str, &'a str)> {
    mountinfo.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let kind = source.next()?;
        let options = source.nth(1)?;
        let is_it = match controller {
            Some(name) => kind == "cgroup" && options.split(',').any(|it| it == name),
            None => kind == "cgroup2",
        };
        let mut fields = mount.split(' ').skip(3);
        is_it.then_some((fields.next()?, fields.next()?))
    })
}

fn path_of<'a>(cgroup: &'a str, controller: Option<&str>) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (hierarchy, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match controller {
            Some(name) => controllers.split(',').any(|it| it == name),
            None => hierarchy == "0",
        };
        is_it.then_some(path)
    })
}
