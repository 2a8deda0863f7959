//! The command line: what is asked for, and how its end is told.

mod ask;
mod keeper;
mod proof;
mod rates;
mod values;

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::SyncSender;
use std::thread;

use sandbox_client::address::Address;
use sandbox_client::clock;
use sandbox_client::connection::{Credentials, End, Proof};
use sandbox_client::net::{Client, Ended, LinkRates, Memory, Records, Task, Transport};
use sandbox_client::script::Script;
use sandbox_client::store::Store;
use sandbox_client::typist;
use sandbox_client::window::{self, Monitors, NoWindow, Options};
use sandbox_protocol::Size;
use sandbox_quic::Fingerprint;

use self::keeper::{Keeper, watch};

const HELP: &str = "\
Usage: sandbox-client [FLAGS] [USER@]HOST[:PORT][#pin=sha256:...]
       sandbox-client --forget HOST[:PORT]

Shows a desktop of a sandbox-server and sends it keys, pointer and pasted texts. PORT is the
server's MEDIA_PORT, a UDP port; 3478 without one.

The server's key is asked about once, on first use, and remembered. With #pin= it must be the one
that is given, and nothing is asked. The password is taken from SANDBOX_PASSWORD, or asked for;
a device that was enrolled signs in by a key of its own.

  --size WIDTHxHEIGHT       size of the desktop; 1280x800 without it. A window's size follows it,
                            and the desktop follows the window
  --fullscreen              begins with the whole screen
  --monitors all|N,...      fills several monitors with one wide desktop; numbers from 1 on
  --trust-on-first-use      trusts a key that is not known yet, for scripts
  --enrol                   signs in by a key of this device from now on. The code for it, which
                            `sandbox-server device enrol USER` gives, is taken from SANDBOX_CODE,
                            or asked for
  --forget                  forgets the server's key, after it was changed on purpose, and this
                            device's key for it
  --transport WAY           udp, websocket, or auto: UDP, and a WebSocket to the server's HTTP
                            port where UDP does not get there. auto without it
  --headless                no window: for tests and scripts
  --probe                   with --headless: presses keys, prints one line of JSON with the
                            times to connect, to the first picture and from key to pixel, and
                            leaves; exit code 1 where no desktop answers
  --script FILE             timed input, one step a line. With - steps are read from standard
                            input, without times, and taken as they come
  --stats-json FILE         writes a line of JSON for each second
  --frame-log FILE          writes a line of JSON for each update of the picture, with the
                            picture's hash
  --help, --version

In the window: F11 or Ctrl+Alt+Enter fills the screen, Ctrl+Alt+Shift+S shows where the time of a
picture goes, Ctrl+Alt+Shift+C takes control, Ctrl+Alt+Shift+M holds the pointer in the window for
games and the like or lets it go, Ctrl+Alt+Shift+Q leaves. The desktop goes on when you leave.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not permitted, 4 something of this machine is
missing.
";

const SIZE_DEFAULT: Size = Size {
    width: 1_280,
    height: 800,
};

/// What the arguments say.
#[derive(Debug)]
struct Arguments {
    address: Address,
    size: Size,
    is_fullscreen: bool,
    monitors: Option<Monitors>,
    trusts: bool,
    transport: Transport,
    is_headless: bool,
    is_probe: bool,
    script: Option<PathBuf>,
    stats: Option<PathBuf>,
    frames: Option<PathBuf>,
    enrols: bool,
    forgets: bool,
}

impl Arguments {
    /// The script comes by standard input.
    fn is_typed(&self) -> bool {
        self.script.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }
}

/// Why the program ends with another code than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    fn usage(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            code: 2,
        }
    }

    fn failed(error: &dyn Error) -> Self {
        Self {
            words: chain(error),
            code: 1,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(&error)
    }
}

/// Runs what the arguments (without the program's name) say; gives the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    if arguments.is_empty() && io::stdin().is_terminal() {
        return run_for_the_menu();
    }
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failure) => {
            warn(&failure.words);
            failure.code
        }
    }
}

/// From a desktop's menu, in a terminal that goes with the program: the server is asked for, and
/// what is told last stays to be read.
fn run_for_the_menu() -> u8 {
    let code = match ask::server() {
        Ok(server) => run(&[server.into()]),
        Err(error) => {
            warn(&chain(&error));
            1
        }
    };
    if code != 0 {
        ask::enter();
    }
    code
}

/// With nobody to read standard error the exit code has to do.
fn warn(words: &str) {
    let _unread = writeln!(io::stderr(), "sandbox-client: {words}");
}

fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        words = format!("{words}: {it}");
        cause = it.source();
    }
    words
}

fn dispatch(arguments: &[OsString]) -> Result<u8, Failure> {
    let is = |name: &str| arguments.iter().any(|it| it == name);
    if is("--help") || is("-h") {
        io::stdout().write_all(HELP.as_bytes())?;
        return Ok(0);
    }
    if is("--version") || is("-V") {
        writeln!(io::stdout(), "sandbox-client {}", env!("CARGO_PKG_VERSION"))?;
        return Ok(0);
    }
    let arguments = parse(arguments)?;
    let path = store_path()?;
    let store = Store::open(&path).map_err(|error| Failure::failed(&error))?;
    if arguments.forgets {
        return forget(&store, &arguments.address);
    }
    let (keeps, writer) = rates::writer(path, arguments.address.to_string())?;
    let code = connect(arguments, &store, keeps);
    // Its words have been told.
    let _failed = writer.join();
    code
}

fn parse(arguments: &[OsString]) -> Result<Arguments, Failure> {
    let mut parsed = Arguments {
        address: Address {
            user: None,
            host: String::new(),
            port: 0,
            pin: None,
        },
        size: SIZE_DEFAULT,
        is_fullscreen: false,
        monitors: None,
        trusts: false,
        transport: Transport::Auto,
        is_headless: false,
        is_probe: false,
        script: None,
        stats: None,
        frames: None,
        enrols: false,
        forgets: false,
    };
    let mut address = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = argument.to_string_lossy();
        let mut value = || {
            let value = rest.next().cloned();
            value.ok_or_else(|| Failure::usage(format!("{name} needs a value after it")))
        };
        match &*name {
            "--size" => parsed.size = values::size(&value()?.to_string_lossy())?,
            "--monitors" => {
                parsed.monitors = Some(values::monitors(&value()?.to_string_lossy())?);
            }
            "--fullscreen" => parsed.is_fullscreen = true,
            "--trust-on-first-use" => parsed.trusts = true,
            "--transport" => parsed.transport = values::transport(&value()?.to_string_lossy())?,
            "--headless" => parsed.is_headless = true,
            "--probe" => parsed.is_probe = true,
            "--enrol" => parsed.enrols = true,
            "--forget" => parsed.forgets = true,
            "--script" => parsed.script = Some(value()?.into()),
            "--stats-json" => parsed.stats = Some(value()?.into()),
            "--frame-log" => parsed.frames = Some(value()?.into()),
            flag if flag.starts_with('-') => {
                return Err(Failure::usage(format!(
                    "there is no {flag}; sandbox-client --help lists what there is"
                )));
            }
            text => {
                let one = Address::from_str(text).map_err(|it| Failure::usage(it.to_string()))?;
                if address.replace(one).is_some() {
                    return Err(Failure::usage(format!("{text:?} is one server too many")));
                }
            }
        }
    }
    parsed.address = address.ok_or_else(|| {
        Failure::usage("which server? sandbox-client USER@HOST; --help tells more")
    })?;
    if parsed.is_probe && !parsed.is_headless {
        return Err(Failure::usage("--probe needs --headless beside it"));
    }
    if parsed.is_typed() && !parsed.is_headless {
        return Err(Failure::usage("--script - needs --headless beside it"));
    }
    Ok(parsed)
}

fn store_path() -> Result<PathBuf, Failure> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from);
    let data = directory("XDG_DATA_HOME")
        .filter(|it| it.is_absolute())
        .or_else(|| directory("HOME").map(|it| it.join(".local/share")));
    let data = data.ok_or_else(|| {
        Failure::usage("neither XDG_DATA_HOME nor HOME says where known servers are remembered")
    })?;
    Ok(data.join("sandbox/client.db"))
}

fn forget(store: &Store, address: &Address) -> Result<u8, Failure> {
    let name = address.to_string();
    let was_known = store
        .forget(&name)
        .map_err(|error| Failure::failed(&error))?;
    if was_known {
        warn(&format!("the key of {name} is forgotten"));
        Ok(0)
    } else {
        Err(Failure {
            words: format!("no key of {name} is known"),
            code: 1,
        })
    }
}

fn connect(
    arguments: Arguments,
    store: &Store,
    keeps: SyncSender<LinkRates>,
) -> Result<u8, Failure> {
    let name = arguments.address.to_string();
    let known = match arguments.address.pin {
        Some(pin) => Some(pin),
        None => store.pin(&name).map_err(|error| Failure::failed(&error))?,
    };
    let credentials = if arguments.enrols {
        proof::by_code(&arguments.address)?
    } else {
        proof::by_what_there_is(&arguments.address, store)?
    };
    let enrolled = match &credentials.proof {
        Proof::Enrol { key, .. } => Some((credentials.user.clone(), key.clone())),
        Proof::Password(_) | Proof::Device(_) => None,
    };
    let memory = store.memory(&name);
    let known = Known {
        key: known,
        memory: memory.map_err(|error| Failure::failed(&error))?,
        link_rates: rates::known(store, &name),
        keeps,
    };
    let is_known = known.key.is_some();
    let task = task(&arguments, known, credentials)?;
    let client = Client::start(task).map_err(|error| Failure::failed(&error))?;
    let keeper = Keeper {
        store,
        name,
        trusts: arguments.trusts,
        is_pinned: arguments.address.pin.is_some(),
        enrolled,
    };
    if arguments.is_headless {
        if arguments.is_typed() {
            let command = client.commander();
            // It ends with its input or with the program.
            thread::spawn(move || {
                let refused = |it: &str| warn(&format!("{it:?} is no step of a script"));
                typist::follow(io::stdin().lock(), command, refused);
            });
        }
        return finish(&watch(client, &keeper));
    }
    // The question is for the terminal that the program was started from.
    if !is_known && !keeper.settle(&client) {
        return finish(&client.join());
    }
    let options = Options {
        title: keeper.name.clone(),
        size: arguments.size,
        is_fullscreen: arguments.is_fullscreen,
        monitors: arguments.monitors,
    };
    let ended = window::run(client, options, |it| keeper.remember(it));
    let ended = ended.map_err(|error| Failure {
        words: error.to_string(),
        code: if matches!(error, NoWindow::Monitors(_)) {
            2
        } else {
            4
        },
    })?;
    finish(&ended)
}

/// What is known of a server.
struct Known {
    key: Option<Fingerprint>,
    memory: Memory,
    link_rates: LinkRates,
    /// What is learnt of its networks goes here.
    keeps: SyncSender<LinkRates>,
}

fn task(arguments: &Arguments, known: Known, credentials: Credentials) -> Result<Task, Failure> {
    let script = match &arguments.script {
        Some(path) if !arguments.is_typed() => std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?
            .parse()
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
        Some(_) | None => Script::default(),
    };
    let create = |path: &Option<PathBuf>| {
        let create = |path: &PathBuf| {
            File::create(path).map_err(|error| {
                Failure::usage(format!("cannot write {}: {error}", path.display()))
            })
        };
        path.as_ref().map(create).transpose()
    };
    let records = Records::new(
        create(&arguments.stats)?,
        create(&arguments.frames)?,
        clock::now(),
    );
    Ok(Task {
        address: arguments.address.clone(),
        known: known.key,
        memory: known.memory,
        transport: arguments.transport,
        credentials,
        size: arguments.size,
        script,
        is_probe: arguments.is_probe,
        records,
        link_rates: known.link_rates,
        keeps: known.keeps,
    })
}

fn finish(ended: &Ended) -> Result<u8, Failure> {
    if let Some(probe) = &ended.probe {
        writeln!(io::stdout(), "{}", probe.line)?;
        if probe.is_ok {
            return Ok(0);
        }
    }
    let code = ended.end.exit_code();
    if ended.end != End::Left {
        warn(&ended.end.to_string());
    }
    Ok(code.max(u8::from(ended.probe.is_some())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, Failure> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse(&arguments)
    }

    #[test]
    fn flags_and_the_server_come_in_any_order() {
        let it = parsed(&["--headless", "a@box:9", "--probe", "--size", "800x600"]).unwrap();
        assert!(it.is_headless && it.is_probe);
        assert_eq!(it.address.to_string(), "box:9");
        assert_eq!(it.size.to_string(), "800x600");
    }

    #[test]
    fn what_does_not_exist_is_a_usage_error_that_names_it() {
        for (arguments, named) in [
            (&["--dance", "box"][..], "--dance"),
            (&[], "which server"),
            (&["box", "other"], "other"),
            (&["box", "--size"], "--size"),
            (&["box", "--transport", "tcp"], "tcp"),
            (&["box", "--size", "1x1"], "1x1"),
            (&["box", "--size", "big"], "big"),
            (&["box", "--probe"], "--headless"),
            (&["box", "--script", "-"], "--headless"),
            (&["box:0"], "1 to 65535"),
            (&["box", "--monitors", "0"], "--monitors 0"),
        ] {
            let failure = parsed(arguments).unwrap_err();
            assert_eq!(failure.code, 2, "{arguments:?}");
            assert!(failure.words.contains(named), "{}", failure.words);
        }
    }

    #[test]
    fn every_flag_of_the_help_is_completed_and_in_the_manual() {
        let manual = include_str!("../sandbox-client.1").replace("\\-", "-");
        let bash = include_str!("../completions/sandbox-client.bash");
        let zsh = include_str!("../completions/sandbox-client.zsh");
        let fish = include_str!("../completions/sandbox-client.fish");
        let listed = HELP.lines().filter_map(|it| it.strip_prefix("  --"));
        let words = listed.flat_map(|it| it.split("  ").next().unwrap().split(", --"));
        let flags: Vec<&str> = words.map(|it| it.split(' ').next().unwrap()).collect();
        assert!(flags.len() > 10 && flags.contains(&"version"), "{flags:?}");
        for flag in flags {
            let ends = |it: &str| !it.starts_with(|it: char| it == '-' || it.is_alphanumeric());
            let names = |text: &str, name: &str| text.split(name).skip(1).any(ends);
            assert!(names(&manual, &format!("--{flag}")), "manual: {flag}");
            assert!(names(bash, &format!("--{flag}")), "bash: {flag}");
            assert!(names(zsh, &format!("--{flag}")), "zsh: {flag}");
            assert!(names(fish, &format!(" -l {flag}")), "fish: {flag}");
        }
    }

    #[test]
    fn help_names_every_flag_that_is_read() {
        let source = include_str!("cli.rs");
        let reader = source.split("match &*name {").nth(1).unwrap();
        let flags = reader.split("flag if").next().unwrap();
        for flag in flags.split('"').filter(|it| it.starts_with("--")) {
            assert!(HELP.contains(flag), "{flag}");
        }
    }
}
