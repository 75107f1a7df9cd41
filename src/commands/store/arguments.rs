//! The options of `dunlin store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Overrides;

const EXAMPLES: &str = "\
Examples, while the broker runs:
  dunlin store backup /srv/backup/today        a copy of its store
  dunlin store status --data-dir /var/lib/dunlin
                                               how that broker and its store are doing

While it is stopped, or of a backup:
  dunlin store verify --data-dir /srv/backup/today
                                               is everything there as it was written?
  dunlin store stats                           how much of what there is
  dunlin store dump --json | jq .              every record, a line each

A backup is a data directory of its own: `dunlin --data-dir /srv/backup/today` serves it. The broker
writes it, as its own user and where it runs: in a container, DIR is a path of the container.

Exit codes: 65 something is damaged, 66 there is no store, 69 no broker answers there, 73 the
backup's directory is not empty or cannot be made, 74 it could not be written, 75 something else
has to end first, such as a broker, 77 not permitted.";

/// Look at what a broker keeps, and copy it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Copy the store of the running broker, as it is at one moment
    ///
    /// The broker goes on serving meanwhile. The copy has everything that was acknowledged before.
    #[command(after_help = BACKUP)]
    Backup {
        /// Where to: a directory that does not exist yet or is empty, with room for a copy
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Read all that a stopped broker has kept and tell what is damaged
    ///
    /// It changes nothing. The next start of the broker keeps what is sound.
    #[command(after_help = OFFLINE)]
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Show every record of a stopped broker's store, payloads included
    #[command(after_help = OFFLINE)]
    Dump {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
    /// Count what is in a stopped broker's store
    #[command(after_help = OFFLINE)]
    Stats {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
    /// How the running broker and its store are doing
    Status {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
}

const BACKUP: &str = "\
Example, of a broker that was started with --config /etc/dunlin/dunlin.toml:
  dunlin store backup /srv/backup/today --config /etc/dunlin/dunlin.toml";

const OFFLINE: &str = "\
The broker has to be stopped: it alone may have its store open. Of a running one look at a backup:
  dunlin store backup /tmp/copy && dunlin store stats --data-dir /tmp/copy";

/// Where the data directory is named.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The broker's configuration, which names its data directory
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The broker's data directory, whatever the configuration names
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Form {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Place {
    pub(super) fn overrides(&self) -> Overrides {
        Overrides { data_dir: self.data_dir.clone(), ..Overrides::default() }
    }
}
