//! `dunlin store`: what a broker keeps, asked of the running one or looked at while it is stopped.

mod arguments;
mod offline;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

pub use arguments::Arguments;

use super::CommandError;
use crate::config::Config;
use crate::control::{self, Command, Figures};
pub use crate::control::{AskError, Reason};
use crate::storage::Problem;
pub use crate::storage::StorageError;
use arguments::{Action, Form, Place};

/// Why it did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{problems} records or files are damaged")]
    Damaged { problems: usize },
    #[error("cannot read the store: {0}")]
    Unreadable(Problem),
    #[error("cannot make {} an absolute path", path.display())]
    Path { path: PathBuf, source: io::Error },
}

/// Finds the data directory as the broker does and does what was asked for.
pub fn run(
    arguments: Arguments,
    environment: impl Iterator<Item = (OsString, OsString)>,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    match arguments.action {
        Action::Backup { directory, place } => {
            let data_dir = data_dir(&place, environment)?;
            // The broker stands somewhere else.
            let absolute = std::path::absolute(&directory);
            let directory =
                absolute.map_err(|source| StoreError::Path { path: directory, source })?;
            let command = Command::Backup { directory };
            let figures = control::ask(&data_dir, &command).map_err(StoreError::Ask)?;
            print(&figures, &Form { json: false }, output)?;
        }
        Action::Verify { place } => offline::verify(&data_dir(&place, environment)?, output)?,
        Action::Dump { place, form } => {
            offline::dump(&data_dir(&place, environment)?, &form, output)?;
        }
        Action::Stats { place, form } => {
            offline::stats(&data_dir(&place, environment)?, &form, output)?;
        }
        Action::Status { place, form } => {
            let data_dir = data_dir(&place, environment)?;
            let figures = control::ask(&data_dir, &Command::Status).map_err(StoreError::Ask)?;
            print(&figures, &form, output)?;
        }
    }
    Ok(output.flush()?)
}

fn data_dir(
    place: &Place,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<PathBuf, CommandError> {
    let loaded = Config::load(place.config.as_deref(), environment, &place.overrides())?;
    Ok(loaded.config.data_dir)
}

fn print(figures: &Figures, form: &Form, output: &mut impl Write) -> io::Result<()> {
    if form.json {
        return writeln!(output, "{}", figures.to_json());
    }
    figures.lines().try_for_each(|(name, value)| writeln!(output, "{name}: {value}"))
}
