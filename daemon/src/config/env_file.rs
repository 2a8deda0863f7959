//! Reads an environment file in systemd's syntax (systemd.exec(5), `EnvironmentFile=`).

/// A line that is neither empty, nor a comment, nor `NAME=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine(pub(super) usize);

/// Where the reader is within a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// All assignments in order; a later one of the same name wins, as with systemd.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, BadLine> {
    let mut assignments = Vec::new();
    let mut rest = text.chars().peekable();
    let mut line = 1;
    loop {
        while rest
            .next_if(|it| it.is_whitespace() && *it != '\n')
            .is_some()
        {}
        match rest.peek() {
            None => return Ok(assignments),
            Some('\n') => {
                rest.next();
                line += 1;
            }
            Some('#' | ';') => while rest.next_if(|it| *it != '\n').is_some() {},
            Some(_) => {
                let first_line = line;
                let name = name(&mut rest).ok_or(BadLine(first_line))?;
                let value = value(&mut rest, &mut line).ok_or(BadLine(first_line))?;
                assignments.push((name, value));
            }
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Takes `NAME=`.
fn name(rest: &mut Chars<'_>) -> Option<String> {
    let mut name = String::new();
    while let Some(it) = rest.next_if(|it| it.is_ascii_alphanumeric() || *it == '_') {
        name.push(it);
    }
    while rest.next_if(|it| matches!(it, ' ' | '\t')).is_some() {}
    let is_name = name.chars().next().is_some_and(|it| !it.is_ascii_digit());
    (rest.next() == Some('=') && is_name).then_some(name)
}

/// Takes the value up to the end of its line; an open quote or a last backslash goes on.
fn value(rest: &mut Chars<'_>, line: &mut usize) -> Option<String> {
    while rest.next_if(|it| matches!(it, ' ' | '\t')).is_some() {}
    let mut value = String::new();
    // Length up to which blanks are kept: what was quoted or escaped is never trimmed.
    let mut kept = 0;
    let mut quote = Quote::None;
    loop {
        let next = rest.next();
        *line += usize::from(next == Some('\n'));
        match (quote, next) {
            (Quote::None, None | Some('\n')) => break,
            (Quote::Single | Quote::Double, None) => return None,
            (Quote::None, Some('\'')) => quote = Quote::Single,
            (Quote::None, Some('"')) => quote = Quote::Double,
            (Quote::Single, Some('\'')) | (Quote::Double, Some('"')) => {
                quote = Quote::None;
                kept = value.len();
            }
            (Quote::None | Quote::Double, Some('\\')) => {
                let escaped = rest.next()?;
                *line += usize::from(escaped == '\n');
                let is_special = matches!(escaped, '"' | '\\' | '`' | '$');
                if quote == Quote::Double && !is_special && escaped != '\n' {
                    value.push('\\');
                }
                if escaped != '\n' {
                    value.push(escaped);
                }
                kept = value.len();
            }
            (_, Some(it)) => value.push(it),
        }
    }
    let trimmed = value.trim_end().len().max(kept);
    value.truncate(trimmed);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[(&str, &str)], BadLine>) {
        let parsed = parse(text);
        let parsed: Result<Vec<(&str, &str)>, BadLine> = match &parsed {
            Ok(all) => Ok(all.iter().map(|(a, b)| (&**a, &**b)).collect()),
            Err(bad) => Err(*bad),
        };
        assert_eq!(parsed.as_deref(), expected.as_ref().map(|it| *it));
    }

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        check("", Ok(&[]));
        check("# c\n; d\n\n A=1 \nB = 2\n", Ok(&[("A", "1"), ("B", "2")]));
        check("A='x y '\nB=\" z\"", Ok(&[("A", "x y "), ("B", " z")]));
        check("A=a\"b c\"'d'e", Ok(&[("A", "ab cde")]));
        check("A=one\\\ntwo\nB=3", Ok(&[("A", "onetwo"), ("B", "3")]));
        check(r#"A="a\"b\\c\d""#, Ok(&[("A", r#"a"b\c\d"#)]));
        check("A=\"two\nlines\"", Ok(&[("A", "two\nlines")]));
        check("A=a#b", Ok(&[("A", "a#b")]));
        check("A=\nA=2", Ok(&[("A", ""), ("A", "2")]));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_named() {
        check("A=1\nnonsense\n", Err(BadLine(2)));
        check("A=1\n\n1A=1\n", Err(BadLine(3)));
        check("A='open\n\n", Err(BadLine(1)));
        check("A=\"a\nb\"\n=x", Err(BadLine(3)));
        check("A=1\\", Err(BadLine(1)));
    }
}
