//! The command line: arguments to a subcommand or a running broker, and what happened to an exit
//! code of sysexits(3).

use std::error::Error;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::commands::bench::{self, BenchError, Progress};
use crate::commands::store::{self, AskError, Reason, StoreError};
use crate::commands::{self, CommandError};
use crate::config::{Config, ConfigErrors, Loaded, Overrides, Warning};
use crate::daemon::{self, DaemonError, StorageError};

const EXAMPLES: &str = "\
Try it:
  dunlin                                       serves this machine, on port 1883
  mosquitto_sub -t 'rooms/#' -v                in a second terminal
  mosquitto_pub -t rooms/kitchen -m 21.5       in a third one

Reachable from elsewhere, open to everybody:
  dunlin --listen 0.0.0.0:1883

As a service:
  dunlin check /etc/dunlin/dunlin.toml
  dunlin --config /etc/dunlin/dunlin.toml
  dunlin store backup /srv/backup/today        a copy of what it keeps, while it runs

Every key of the file but credentials can be set by an environment variable, such as
DUNLIN_LIMITS__PACKET_BYTES_MAX=\"4 MiB\"; options win over variables, variables over the file.";

/// An MQTT 3.1.1 and 5.0 broker.
///
/// Without arguments it serves MQTT on 127.0.0.1:1883 and [::1]:1883, to clients of this machine.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Options {
    /// Read the configuration from FILE (TOML)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on ADDR, open to anonymous clients (repeatable)
    ///
    /// ADDR is an address and a port (0.0.0.0:1883, [::]:1883, 127.0.0.1:0), an address alone,
    /// or a port alone, which only this machine can reach. Replaces all configured listeners.
    #[arg(long, value_name = "ADDR", verbatim_doc_comment)]
    listen: Vec<String>,
    /// Keep everything in memory; nothing survives a restart
    #[arg(long)]
    memory: bool,
    /// The directory for what survives a restart (the engine `memory` keeps nothing there)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake in a configuration file
    Check {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the configuration in effect, as a file
    PrintConfig(Options),
    Bench(bench::Arguments),
    Store(store::Arguments),
}

/// What a run came to, as sysexits(3) numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The arguments are wrong.
    Usage,
    /// Messages did not arrive as they were sent.
    Data,
    /// The file does not exist.
    NoInput,
    /// A port is taken, or a broker cannot be reached.
    Unavailable,
    /// A bug of ours.
    Bug,
    /// The machine refused something that is not a file.
    System,
    /// What is to be made is there already, or cannot be made.
    CannotCreate,
    Io,
    /// The same may work later.
    Busy,
    /// A broker refused what was asked of it.
    Protocol,
    Permission,
    Configuration,
    /// By Ctrl-C; the number is the one shells give to it.
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::System => 71,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::Busy => 75,
            Self::Protocol => 76,
            Self::Permission => 77,
            Self::Configuration => 78,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Does what the arguments, the program's name first, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return help_or_usage(&error),
    };
    let environment = std::env::vars_os();
    let output = &mut io::stdout().lock();
    let done = match arguments.command {
        None => return serve(arguments.options),
        Some(Command::Check { file }) => {
            commands::check::run(&file, environment, output, print_warnings)
        }
        Some(Command::PrintConfig(options)) => {
            let (file, overrides) = options.split();
            let file = file.as_deref();
            commands::print_config::run(file, environment, &overrides, output, print_warnings)
        }
        Some(Command::Bench(arguments)) => return measure(&arguments, output),
        Some(Command::Store(arguments)) => store::run(arguments, environment, output),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => exit_of_command(&error),
    }
}

fn measure(arguments: &bench::Arguments, output: &mut impl Write) -> Exit {
    let mut errors = io::stderr();
    let terminal: Option<&mut dyn Write> =
        if errors.is_terminal() { Some(&mut errors) } else { None };
    match bench::run(arguments, output, Progress::new(terminal)) {
        Ok(faults) if faults.is_none() => Exit::Done,
        Ok(_) => {
            complain(&"dunlin bench: messages were lost, came twice, out of order or damaged");
            Exit::Data
        }
        Err(error) => exit_of_command(&error),
    }
}

fn exit_of_command(error: &CommandError) -> Exit {
    match error {
        CommandError::Config(errors) => refuse(errors),
        CommandError::Bench(error) => {
            complain(&format_args!("dunlin bench: {}", Chain(error)));
            exit_of_bench(error)
        }
        CommandError::Store(error) => {
            complain(&format_args!("dunlin store: {}", Chain(error)));
            if let StoreError::Storage(StorageError::InUse { .. }) = error {
                complain(&"stop that broker, or look at a backup: `dunlin store backup DIR`");
            }
            exit_of_store(error)
        }
        // Whoever reads, for example `head`, has seen enough.
        CommandError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        CommandError::Output(error) => {
            complain(&format_args!("cannot write the output: {error}"));
            Exit::Io
        }
    }
}

fn exit_of_bench(error: &BenchError) -> Exit {
    match error {
        BenchError::Name { .. }
        | BenchError::NoAddress { .. }
        | BenchError::Sources { .. }
        | BenchError::Streams { .. }
        | BenchError::UserProperties
        | BenchError::Usage { .. } => Exit::Usage,
        BenchError::Unreachable { .. } | BenchError::NoAnswer { .. } => Exit::Unavailable,
        BenchError::Client { .. }
        | BenchError::NotSubscribed { .. }
        | BenchError::QoS { .. }
        | BenchError::NoRetain
        | BenchError::NoSession { .. }
        | BenchError::Refused { .. } => Exit::Protocol,
        BenchError::OpenFiles { .. }
        | BenchError::OwnUsage(_)
        | BenchError::Machine(_)
        | BenchError::Random => Exit::System,
        BenchError::Interrupted => Exit::Interrupted,
        BenchError::Task | BenchError::Histogram => Exit::Bug,
    }
}

fn exit_of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Path { .. } => Exit::System,
        StoreError::Storage(error) => exit_of_storage(error),
        StoreError::Damaged { .. } | StoreError::Unreadable(_) => Exit::Data,
        StoreError::Ask(error) => match error {
            AskError::NoBroker { .. } | AskError::Stopped { .. } => Exit::Unavailable,
            AskError::Permission { .. } => Exit::Permission,
            AskError::NotText => Exit::Usage,
            AskError::Io { .. } => Exit::Io,
            AskError::Garbled { .. } => Exit::Protocol,
            AskError::Refused(refusal) => match refusal.reason {
                Reason::Unknown => Exit::Protocol,
                Reason::Busy => Exit::Busy,
                Reason::CannotCreate => Exit::CannotCreate,
                Reason::Permission => Exit::Permission,
                Reason::Io => Exit::Io,
            },
        },
    }
}

fn serve(options: Options) -> Exit {
    let (file, overrides) = options.split();
    match Config::load(file.as_deref(), std::env::vars_os(), &overrides) {
        Ok(Loaded { config, warnings }) => match daemon::run(config, &warnings) {
            Ok(()) => Exit::Done,
            Err(error) => {
                complain(&format_args!("dunlin: {error}"));
                exit_of(&error)
            }
        },
        Err(errors) => refuse(&errors),
    }
}

fn exit_of(error: &DaemonError) -> Exit {
    match error {
        DaemonError::Listen { source, .. } => match source.kind() {
            io::ErrorKind::AddrInUse => Exit::Unavailable,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::AddrNotAvailable => Exit::Configuration,
            _ => Exit::System,
        },
        DaemonError::Engine { .. } | DaemonError::Workers(_) | DaemonError::Signals(_) => {
            Exit::System
        }
        DaemonError::Storage(error) => exit_of_storage(error),
        DaemonError::Banner(_) => Exit::Io,
    }
}

fn exit_of_storage(error: &StorageError) -> Exit {
    match error {
        StorageError::Create { source, .. } => exit_of_file(source, Exit::CannotCreate),
        StorageError::Unusable { source, .. } => exit_of_file(source, Exit::Io),
        StorageError::Full { .. } | StorageError::Engine { .. } => Exit::Io,
        StorageError::NotADirectory { .. } | StorageError::Foreign { .. } => Exit::Configuration,
        StorageError::InUse { .. } => Exit::Busy,
        StorageError::Newer { .. } => Exit::Data,
        StorageError::Missing { .. } => Exit::NoInput,
        StorageError::NotEmpty { .. } | StorageError::Inside { .. } => Exit::CannotCreate,
        StorageError::Closed => Exit::Unavailable,
        StorageError::Threads(_) => Exit::System,
    }
}

fn exit_of_file(error: &io::Error, otherwise: Exit) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => otherwise,
    }
}

impl Options {
    fn split(self) -> (Option<PathBuf>, Overrides) {
        let Self { config, listen, memory, data_dir } = self;
        (config, Overrides { listen, memory, data_dir })
    }
}

fn help_or_usage(error: &clap::Error) -> Exit {
    // Nothing is left to tell when the terminal is gone.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

fn refuse(errors: &ConfigErrors) -> Exit {
    match errors {
        ConfigErrors::Unreadable { source, .. } => {
            complain(&format_args!("{errors}: {source}"));
            match source.kind() {
                io::ErrorKind::NotFound => Exit::NoInput,
                io::ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Io,
            }
        }
        ConfigErrors::Mistakes(mistakes) => {
            complain(mistakes);
            if errors.is_usage() { Exit::Usage } else { Exit::Configuration }
        }
    }
}

fn print_warnings(warnings: &[Warning]) -> io::Result<()> {
    let mut errors = io::stderr().lock();
    warnings.iter().try_for_each(|warning| writeln!(errors, "warning: {warning}"))
}

/// An error with what led to it.
struct Chain<'a>(&'a dyn Error);

impl Display for Chain<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(to, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// To standard error; when that is closed, the exit code has to tell it.
fn complain(problem: &dyn Display) {
    let _ = writeln!(io::stderr().lock(), "{problem}");
}
