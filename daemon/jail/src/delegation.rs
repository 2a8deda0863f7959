//! What the host lets an ordinary user map into a user namespace of its own.

use std::path::{Path, PathBuf};

use crate::limits::{IDS_PER_SERVER, IDS_PER_USER, UID_BASE_DEFAULT};

/// Where the programs that map a delegated range are looked for.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// The ordinary user that started this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The account's, or the uid as text where there is none.
    pub(crate) name: String,
    pub(crate) home: Option<PathBuf>,
    /// The primary group has no other member.
    pub(crate) has_private_group: bool,
}

impl Caller {
    /// Looks this process's user up.
    pub(crate) fn find() -> Self {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        // An account that no file knows, as in containers, has neither a home nor a range.
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::read(uid, gid, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn read(uid: u32, gid: u32, passwd: &str, group: &str) -> Self {
        let accounts = || passwd.lines().filter_map(account);
        let own = accounts().find(|it| it.uid == uid);
        let name = own
            .as_ref()
            .map_or_else(|| uid.to_string(), |it| it.name.to_owned());
        let is_members_alone = group
            .lines()
            .find_map(|line| members_of(line, gid))
            .is_some_and(|mut members| members.all(|it| it == name));
        Self {
            uid,
            gid,
            has_private_group: is_members_alone
                && accounts().all(|it| it.gid != gid || it.uid == uid),
            home: own.map(|it| PathBuf::from(it.home)),
            name,
        }
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    Some(Account {
        name: fields.next()?,
        uid: fields.nth(1)?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
        home: fields.nth(1)?,
    })
}

fn members_of(line: &str, gid: u32) -> Option<impl Iterator<Item = &str>> {
    let mut fields = line.split(':').skip(2);
    let is_it = fields.next()?.parse() == Ok(gid);
    is_it.then(|| {
        fields
            .next()
            .unwrap_or_default()
            .split(',')
            .filter(|it| !it.is_empty())
    })
}

/// Ids beside its own that a user may map: as many uids as gids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delegated {
    /// The first uid; inside it keeps its number.
    pub(crate) uid: u32,
    /// The first gid; inside it has the number of the uid.
    pub(crate) gid: u32,
    pub(crate) count: u32,
}

/// `SANDBOX_UID_BASE` was set to what the user may not map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside(pub(crate) String);

/// What a user may map, or why nothing.
pub(crate) type Found = Result<Delegated, String>;

/// Looks up what the caller may map. The daemon gets the id below `uid_base`.
pub(crate) fn find(caller: &Caller, uid_base: u32) -> Result<Found, Outside> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let found = choose(caller, &read("/etc/subuid"), &read("/etc/subgid"), uid_base)?;
    Ok(found.and_then(|delegated| {
        for name in ["newuidmap", "newgidmap"] {
            if program(name).is_none() {
                return Err(format!("{name} is not installed"));
            }
        }
        Ok(delegated)
    }))
}

/// The path of a program that maps a range.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS
        .iter()
        .map(|it| Path::new(it).join(name))
        .find(|it| it.exists())
}

/// Where the next range could begin, after those of everybody.
pub(crate) fn first_free() -> u32 {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    after_all(&[&read("/etc/subuid"), &read("/etc/subgid")])
}

fn after_all(files: &[&str]) -> u32 {
    // What useradd begins with.
    const FIRST: u32 = 100_000;
    let ends = files
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| {
            let mut numbers = line.trim().split(':').skip(1);
            let start: u32 = numbers.next()?.parse().ok()?;
            start.checked_add(numbers.next()?.parse().ok()?)
        });
    ends.fold(FIRST, u32::max)
}

fn choose(caller: &Caller, subuid: &str, subgid: &str, uid_base: u32) -> Result<Found, Outside> {
    let (uids, gids) = (ranges(caller, subuid), ranges(caller, subgid));
    let first = uid_base.saturating_sub(1);
    let chosen = |ranges: &[Range]| {
        let named = ranges.iter().find_map(|it| it.from(first));
        named.or_else(|| ranges.iter().copied().max_by_key(|it| it.count))
    };
    let is_named = uids.iter().any(|it| it.from(first).is_some());
    if uid_base != UID_BASE_DEFAULT && !is_named && !uids.is_empty() {
        let given: Vec<String> = uids.iter().map(|it| it.to_string()).collect();
        return Err(Outside(format!(
            "lies outside of what /etc/subuid gives {}: {}; choose one above the first of these, \
             or leave it out",
            caller.name,
            given.join(", ")
        )));
    }
    let (Some(uid), Some(gid)) = (chosen(&uids), chosen(&gids)) else {
        let path = if uids.is_empty() {
            "/etc/subuid"
        } else {
            "/etc/subgid"
        };
        return Ok(Err(format!("{path} gives {} no range", caller.name)));
    };
    let count = uid.count.min(gid.count).min(IDS_PER_SERVER + 1);
    // One for the daemon, the rest for users.
    if count <= IDS_PER_USER {
        return Ok(Err(format!(
            "/etc/subuid and /etc/subgid give {} {count} ids, of which one user needs {}",
            caller.name,
            IDS_PER_USER + 1
        )));
    }
    Ok(Ok(Delegated {
        uid: uid.start,
        gid: gid.start,
        count,
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

impl Range {
    /// What of it begins with `first`, if that is enough for one user.
    fn from(self, first: u32) -> Option<Self> {
        let skipped = first.checked_sub(self.start)?;
        let count = self.count.checked_sub(skipped)?;
        (count > IDS_PER_USER).then_some(Self {
            start: first,
            count,
        })
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.start, self.start + (self.count - 1))
    }
}

/// Lines are `NAME:FIRST:COUNT`, where a number may stand for the name.
fn ranges(caller: &Caller, text: &str) -> Vec<Range> {
    let uid = caller.uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next()?;
            let start: u32 = fields.next()?.parse().ok()?;
            let count: u32 = fields.next()?.parse().ok()?;
            let is_own = name == caller.name || name == uid;
            let is_range = count > 0 && start > 0 && start.checked_add(count).is_some();
            (is_own && is_range).then_some(Range { start, count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Caller {
        Caller::read(
            1000,
            1000,
            "root:x:0:0::/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n",
            "ada:x:1000:\n",
        )
    }

    fn chosen(subuid: &str, subgid: &str) -> Found {
        choose(&ada(), subuid, subgid, UID_BASE_DEFAULT).unwrap()
    }

    #[test]
    fn a_caller_is_known_by_the_account_list() {
        let ada = ada();
        assert_eq!((&*ada.name, ada.home), ("ada", Some("/home/ada".into())));
        assert!(ada.has_private_group);
        let nobody = Caller::read(7, 7, "", "");
        assert_eq!((&*nobody.name, nobody.home), ("7", None));
        assert!(!nobody.has_private_group);
    }

    #[test]
    fn a_group_with_others_in_it_is_not_private() {
        let passwd = "ada:x:1000:100::/home/ada:/bin/sh\n";
        let is_private =
            |passwd: &str, group| Caller::read(1000, 100, passwd, group).has_private_group;
        assert!(is_private(passwd, "users:x:100:ada\n"));
        assert!(!is_private(passwd, "users:x:100:ada,bob\n"));
        let more = format!("{passwd}bob:x:1001:100::/home/bob:/bin/sh\n");
        assert!(!is_private(&more, "users:x:100:\n"));
    }

    #[test]
    fn the_longest_range_is_taken_by_name_or_number() {
        let same = |uid, count| {
            Ok(Delegated {
                uid,
                gid: uid,
                count,
            })
        };
        let files = "bob:1:9000000\nada:100000:65536\n1000:300000:70000\nada:x:y\nada:0:99999999\n";
        assert_eq!(chosen(files, files), same(300_000, 70_000));
    }

    #[test]
    fn gids_may_lie_elsewhere_and_the_shorter_range_counts() {
        assert_eq!(
            chosen("ada:100000:65536\n", "ada:500000:1000\n"),
            Ok(Delegated {
                uid: 100_000,
                gid: 500_000,
                count: 1_000
            })
        );
    }

    #[test]
    fn a_base_within_the_range_is_honoured_and_one_outside_is_refused() {
        let files = "ada:100000:65536\n";
        let with = |base| choose(&ada(), files, files, base);
        assert_eq!(
            with(120_001),
            Ok(Ok(Delegated {
                uid: 120_000,
                gid: 120_000,
                count: 45_536
            }))
        );
        for base in [100_000, 165_521, 165_536, 5] {
            assert!(with(base).is_err(), "{base}");
        }
        // Where nothing is delegated, nothing lies outside of it.
        assert!(choose(&ada(), "", "", 5).unwrap().is_err());
    }

    #[test]
    fn the_next_range_begins_after_everybodys() {
        assert_eq!(after_all(&["", "junk\n"]), 100_000);
        assert_eq!(after_all(&["a:100000:65536\n", "b:165536:10\n"]), 165_546);
    }

    #[test]
    fn what_is_no_use_says_why() {
        let why = |subuid, subgid| chosen(subuid, subgid).unwrap_err();
        assert!(why("", "ada:1:100\n").contains("/etc/subuid gives ada no range"));
        assert!(why("ada:1:100\n", "").contains("/etc/subgid gives ada no range"));
        assert!(why("ada:1:16\n", "ada:1:100\n").contains("16 ids"));
    }
}
