//! What native viewers' users are told, in plain words: their client shows them as they are.

use sandbox_core::sessions::Reason;
use sandbox_protocol::local::warden::{EndReason, MemoryShortage};

/// Why a desktop is over.
pub(super) const fn ended(reason: Reason) -> &'static str {
    match reason {
        Reason::Requested | Reason::Warden(EndReason::Requested) => "it was ended",
        Reason::Timeout => "nobody was connected to it for a long time",
        Reason::UserDisabled => "the account was disabled",
        Reason::Refused | Reason::Warden(EndReason::StartFailed) => "it could not be started",
        Reason::StartTimeout => "its start took too long",
        Reason::Lost => "the server was restarted without it",
        Reason::Warden(EndReason::DisplayEnded) => "its display stopped working",
        Reason::Warden(EndReason::ProgramsEnded) => "its window manager closed",
        Reason::Warden(EndReason::WorkerEnded) => "the part that sends the picture stopped working",
        Reason::Warden(EndReason::XHeldByProgram) => {
            "its display stopped answering: a program inside it held it, or it hangs"
        }
        Reason::Warden(EndReason::Shutdown) => "the server is being stopped or restarted",
    }
}

/// Which programs were ended for memory.
pub(super) fn out_of_memory(shortage: &MemoryShortage) -> String {
    let MemoryShortage {
        limit_mb,
        killed,
        programs,
    } = shortage;
    let mut names = programs.clone();
    let unnamed = usize::try_from(*killed)
        .unwrap_or(usize::MAX)
        .saturating_sub(programs.len());
    match (unnamed, programs.is_empty()) {
        (0, _) => {}
        (1, true) => names.push("a program".into()),
        (1, false) => names.push("one other program".into()),
        (count, true) => names.push(format!("{count} programs")),
        (count, false) => names.push(format!("{count} other programs")),
    }
    let all = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    };
    let verb = if *killed == 1 { "was" } else { "were" };
    format!("The desktop ran out of memory ({limit_mb} MB): {all} {verb} ended.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_as_far_as_they_are_known() {
        #[track_caller]
        fn check(killed: u32, programs: &[&str], expected: &str) {
            let shortage = MemoryShortage {
                limit_mb: 2_048,
                killed,
                programs: programs.iter().map(|it| (*it).into()).collect(),
            };
            let words = out_of_memory(&shortage);
            let expected = format!("The desktop ran out of memory (2048 MB): {expected} ended.");
            assert_eq!(words, expected);
        }
        check(1, &["gimp"], "gimp was");
        check(2, &["gimp", "firefox"], "gimp and firefox were");
        check(3, &["a", "b", "c"], "a, b and c were");
        check(3, &["gimp"], "gimp and 2 other programs were");
        check(2, &["gimp"], "gimp and one other program were");
        check(1, &[], "a program was");
        check(4, &[], "4 programs were");
    }
}
