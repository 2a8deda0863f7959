//! Passwords: argon2id on two threads of their own, so that a thousand sign-ins at once cost the
//! memory of two.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use async_channel::{Receiver, Sender};

use crate::redacted::Redacted;

/// Hashes computed at once; each takes 19 MiB (the crate's default, OWASP's recommendation).
const THREADS: usize = 2;

/// Sign-ins that may wait for a thread: some two seconds' worth; more are told to come back.
const WAITING_MAX: usize = 64;

/// Shortest password.
pub const PASSWORD_LEN_MIN: usize = 8;

/// Longest password in bytes.
pub const PASSWORD_LEN_MAX: usize = 1_024;

/// Of a password that nobody has; compared where there is no account, so that the answer takes the
/// same time.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FuZGJveC1ub2JvZHkh$\
                      Xr3mXQ8fCqkLwC8C1o1H6m3mJYk4Qm0bqkqg0g1Vx2E";

/// Too many sign-ins wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins at once")]
pub struct Busy;

/// The password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the password: {0}")]
pub struct HashError(argon2::password_hash::Error);

struct Job {
    password: Redacted<String>,
    hash: Option<Redacted<String>>,
    answer: Sender<bool>,
}

/// Checks passwords, two at a time.
#[derive(Clone, Debug)]
pub struct Checker {
    jobs: Sender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Checker {
    /// Starts the threads; they end with the last clone.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error when there can be no thread.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, waiting) = async_channel::bounded(WAITING_MAX);
        for number in 0..THREADS {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Whether the password is the one that was hashed; `None` is compared with nobody's.
    ///
    /// # Errors
    ///
    /// Returns [`Busy`] when too many wait.
    pub async fn is_right(
        &self,
        password: Redacted<String>,
        hash: Option<Redacted<String>>,
    ) -> Result<bool, Busy> {
        let (answer, answered) = async_channel::bounded(1);
        let job = Job {
            password,
            hash,
            answer,
        };
        self.jobs.try_send(job).map_err(|_| Busy)?;
        answered.recv().await.map_err(|_| Busy)
    }
}

fn work(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv_blocking() {
        if job.answer.is_closed() {
            continue;
        }
        let hash = job.hash.as_ref().map_or(NOBODY, |it| it.reveal());
        let is_equal = Argon2::default()
            .verify_password(job.password.reveal().as_bytes(), hash)
            .is_ok();
        // Nobody waits any more where the request was given up.
        let _given_up = job.answer.try_send(is_equal && job.hash.is_some());
    }
}

/// Hashes a new password, on the caller's thread.
///
/// # Errors
///
/// Returns [`HashError`] when the kernel has no randomness or no memory.
pub fn hash(password: &str) -> Result<String, HashError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|it| it.to_string())
        .map_err(HashError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_right_or_wrong_and_nobody_has_none() {
        let checker = Checker::start().unwrap();
        let stored = hash("correct horse").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        let is_right = |password: &str, hash: Option<&str>| {
            let password = Redacted::new(password.to_owned());
            let hash = hash.map(|it| Redacted::new(it.to_owned()));
            smol::block_on(checker.is_right(password, hash)).unwrap()
        };
        assert!(is_right("correct horse", Some(&stored)));
        assert!(!is_right("wrong", Some(&stored)));
        assert!(!is_right("wrong", None));
        assert!(!is_right("wrong", Some("no hash at all")));
    }

    /// A hash that does not parse would answer at once, and tell who has an account.
    #[test]
    fn nobodys_hash_takes_the_same_work_as_everybodys() {
        use argon2::password_hash::phc::PasswordHash;
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let stored = hash("correct horse").unwrap();
        let somebody = PasswordHash::new(&stored).unwrap();
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(
            nobody.hash.unwrap().len(),
            somebody.hash.unwrap().len(),
            "output length"
        );
    }

    #[test]
    fn more_than_can_wait_are_turned_away() {
        let (jobs, _waiting) = async_channel::bounded(1);
        let checker = Checker { jobs };
        let ask = || checker.is_right(Redacted::new("x".into()), None);
        smol::block_on(async {
            let mut first = Box::pin(ask());
            assert!(futures_lite::future::poll_once(&mut first).await.is_none());
            assert_eq!(ask().await, Err(Busy));
        });
    }
}
