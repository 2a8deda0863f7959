//! Steps of a script that come line by line, each taken when it comes.

use std::io::BufRead;

use crate::net::Command;
use crate::script;

/// Gives the steps on `lines` until they end; `refused` learns of each line that is none. A step
/// with a time, or one that waits for a picture, is none here.
pub fn follow(lines: impl BufRead, command: impl Fn(Command), refused: impl Fn(&str)) {
    for line in lines.lines().map_while(Result::ok) {
        let step = line.trim();
        if step.is_empty() || step.starts_with('#') {
            continue;
        }
        match script::step(step).and_then(script::commands) {
            Some(commands) => commands.into_iter().for_each(&command),
            None => refused(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn steps_are_taken_in_order_and_what_is_none_is_told() {
        let lines = "text a\n\n# words\nat 5 end\nuntil-hash 0\ndance\nmove 1 2\nend\n";
        let (taken, refused) = (RefCell::default(), RefCell::default());
        follow(
            lines.as_bytes(),
            |it| RefCell::<Vec<_>>::borrow_mut(&taken).push(it),
            |it| RefCell::<Vec<_>>::borrow_mut(&refused).push(it.to_owned()),
        );
        let taken = taken.into_inner();
        assert_eq!(taken.len(), 4, "{taken:?}");
        assert_eq!(taken.get(2), Some(&Command::Move { x: 1, y: 2 }));
        assert_eq!(taken.last(), Some(&Command::Leave));
        assert_eq!(refused.into_inner(), ["at 5 end", "until-hash 0", "dance"]);
    }
}
