//! `dunlin check FILE`: would a broker start with this file?

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::CommandError;
use crate::config::{Config, Loaded, Overrides, Warning};

/// Checks the file together with the environment, as a start would, and says so on `output`. What
/// an operator should know goes to `warn`.
pub fn run(
    file: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
    output: &mut impl Write,
    warn: impl FnOnce(&[Warning]) -> std::io::Result<()>,
) -> Result<(), CommandError> {
    let Loaded { warnings, .. } = Config::load(Some(file), environment, &Overrides::default())?;
    warn(&warnings)?;
    writeln!(output, "{}: ok", file.display())?;
    Ok(output.flush()?)
}
