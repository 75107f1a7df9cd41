//! `dunlin print-config`: what the broker would run with, as a file.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::CommandError;
use crate::config::{Config, Loaded, Overrides, Warning};

/// The file, the environment and the options in one, ready to be loaded as a file itself.
pub fn run(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    overrides: &Overrides,
    output: &mut impl Write,
    warn: impl FnOnce(&[Warning]) -> std::io::Result<()>,
) -> Result<(), CommandError> {
    let Loaded { config, warnings } = Config::load(file, environment, overrides)?;
    warn(&warnings)?;
    write!(output, "{}", config.to_toml())?;
    Ok(output.flush()?)
}
