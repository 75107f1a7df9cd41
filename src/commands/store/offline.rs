//! What is done with the store of a broker that is stopped.

use std::io::{self, Write};
use std::path::Path;

use super::{Form, StoreError};
use crate::commands::CommandError;
use crate::storage::{Dumped, FamilyStats, Offline, Problem, SCHEMA, Stats};

pub(super) fn verify(data_dir: &Path, output: &mut impl Write) -> Result<(), CommandError> {
    let (store, mut problems) = Offline::open(data_dir).map_err(StoreError::Storage)?;
    problems.extend(store.verify());
    for problem in &problems {
        writeln!(output, "{problem}")?;
    }
    if !problems.is_empty() {
        output.flush()?;
        return Err(StoreError::Damaged { problems: problems.len() }.into());
    }
    let Stats { families, .. } = store.stats().map_err(StoreError::Unreadable)?;
    let records: u64 = families.iter().map(|family| family.records).sum();
    Ok(writeln!(output, "{}: ok, {records} records", data_dir.display())?)
}

pub(super) fn dump(
    data_dir: &Path,
    form: &Form,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let (store, _) = Offline::open(data_dir).map_err(StoreError::Storage)?;
    let mut written: io::Result<()> = Ok(());
    let dumped = store.dump(|record: Dumped| {
        // After the first that could not be written nobody wants the others.
        if written.is_ok() {
            written = if form.json {
                writeln!(output, "{}", record.to_json())
            } else {
                writeln!(output, "{record}")
            };
        }
    });
    written?;
    Ok(dumped.map_err(StoreError::Unreadable)?)
}

pub(super) fn stats(
    data_dir: &Path,
    form: &Form,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let (store, _) = Offline::open(data_dir).map_err(StoreError::Storage)?;
    let Stats { families, disk_bytes, journals } =
        store.stats().map_err(|problem: Problem| StoreError::Unreadable(problem))?;
    if form.json {
        let families: serde_json::Map<String, serde_json::Value> = families
            .iter()
            .map(|FamilyStats { name, records, bytes, table_bytes }| {
                let figures = serde_json::json!({
                    "records": records, "bytes": bytes, "table_bytes": table_bytes,
                });
                ((*name).to_owned(), figures)
            })
            .collect();
        let line = serde_json::json!({
            "schema": SCHEMA, "disk_bytes": disk_bytes, "journals": journals, "families": families,
        });
        return Ok(writeln!(output, "{line}")?);
    }
    writeln!(output, "{disk_bytes} bytes on disk, {journals} journals")?;
    for FamilyStats { name, records, bytes, .. } in families {
        writeln!(output, "{name:14}{records:>12} records{bytes:>16} bytes")?;
    }
    Ok(())
}
