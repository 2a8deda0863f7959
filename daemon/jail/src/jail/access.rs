//! Turns a plan's rules into a Landlock domain.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::plan::{Plan, Rights};
use crate::sys::rights::landlock_abi;

/// The newest ABI whose rights we hand out; 7 added nothing but audit flags.
const WANTED: ABI = ABI::V6;
const WANTED_NUMBER: i64 = 6;

/// Enters the domain. What the kernel could not enforce comes back as a sentence.
pub(crate) fn restrict(
    plan: &Plan,
    executable: Option<BorrowedFd<'_>>,
) -> io::Result<Option<String>> {
    match landlock_abi() {
        0 => return Ok(Some("landlock: this kernel has none".to_owned())),
        // ABI 1 fails every rename across directories, in the user's own home too.
        1 if plan.memfd_programs => {
            return Ok(Some(format!("landlock: none on {} with ABI 1", plan.kind)));
        }
        _ => {}
    }
    let status = enter(plan, executable).map_err(io::Error::other)?;
    Ok((status != RulesetStatus::FullyEnforced).then(|| {
        format!(
            "landlock: ABI {} of {WANTED_NUMBER} on {}",
            landlock_abi(),
            plan.kind
        )
    }))
}

fn enter(
    plan: &Plan,
    executable: Option<BorrowedFd<'_>>,
) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for rule in &plan.rules {
        // A path that the plan left out as optional needs no rule.
        if let Ok(path) = PathFd::new(&rule.path) {
            ruleset = ruleset.add_rule(beneath(path, rights(rule.rights), &rule.path))?;
        }
    }
    if let Some(executable) = executable {
        let run = AccessFs::Execute | AccessFs::ReadFile;
        ruleset = ruleset.add_rule(PathBeneath::new(executable, run))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Rights on directories make no sense on a file, and the kernel refuses them there.
fn beneath<T: AsFd>(parent: T, rights: BitFlags<AccessFs>, path: &str) -> PathBeneath<T> {
    let rights = if std::path::Path::new(path).is_dir() {
        rights
    } else {
        rights & AccessFs::from_file(WANTED)
    };
    PathBeneath::new(parent, rights)
}

fn rights(of: Rights) -> BitFlags<AccessFs> {
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    match of {
        Rights::List => AccessFs::ReadDir.into(),
        Rights::Read => look,
        Rights::Execute => look | AccessFs::Execute,
        Rights::Use => look | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::Truncate,
        Rights::Write => AccessFs::from_all(WANTED) & !AccessFs::Execute,
        Rights::Everything => AccessFs::from_all(WANTED),
    }
}
