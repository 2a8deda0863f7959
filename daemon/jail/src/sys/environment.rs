//! Forgets the environment that this process was started with.

use std::ffi::c_char;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Wipes every variable where the kernel put it, so that `/proc/PID/environ` of this process and
/// of all that are split off it shows none. What a program merely unsets stays readable there.
///
/// The caller must have one thread, and must have read what it needs.
pub(crate) fn forget() {
    // SAFETY: the C library's variable; with one thread nobody changes it meanwhile.
    let mut entry = unsafe { environ };
    if entry.is_null() {
        return;
    }
    loop {
        // SAFETY: `entry` walks the array, which ends with a null pointer.
        let variable = unsafe { *entry };
        if variable.is_null() {
            break;
        }
        // SAFETY: every entry of the array is a string that ends with a zero byte.
        let length = unsafe { libc::strlen(variable) };
        // SAFETY: these bytes are the string's own, in memory of this process that is writable.
        unsafe { variable.write_bytes(0, length) };
        std::hint::black_box(variable);
        // SAFETY: the entry was not the last one, so the array goes on.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: the C library's variable, as above; without an array there are no variables.
    unsafe { environ = std::ptr::null_mut() };
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    /// Its own process: the test's environment is shared by the threads of the runner.
    #[test]
    fn nothing_of_the_environment_is_left_to_read() {
        if std::env::var_os("SANDBOX_JAIL_TEST_FORGETS").is_some() {
            super::forget();
            assert_eq!(std::env::vars_os().count(), 0);
            let left = std::fs::read("/proc/self/environ").unwrap();
            assert!(left.iter().all(|it| *it == 0), "{left:?}");
            return;
        }
        let name = "sys::environment::tests::nothing_of_the_environment_is_left_to_read";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env("SANDBOX_JAIL_TEST_FORGETS", "a secret")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}
