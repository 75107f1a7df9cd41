//! What is done with the store of a broker that is stopped.

use std::io::Write;
use std::path::Path;

use super::{Form, StoreError, parted};
use crate::commands::CommandError;
use crate::storage::{self, Entry, FamilyStats, Stats};

pub(super) fn verify(data_dir: &Path, output: &mut impl Write) -> Result<(), CommandError> {
    let mut tell = |flaw: &storage::Flaw| writeln!(output, "{}: {}", flaw.place, flaw.what);
    let verified = storage::verify(data_dir, &mut tell).map_err(parted)?;
    let storage::Verified { records, flaws } = verified;
    if flaws > 0 {
        output.flush()?;
        return Err(StoreError::Damaged { flaws, records }.into());
    }
    Ok(writeln!(output, "{}: ok, {records} records", data_dir.display())?)
}

pub(super) fn dump(
    data_dir: &Path,
    form: &Form,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let mut show = |entry: Entry<'_>| {
        let Entry { family, key, bytes, record } = entry;
        let key = storage::hex(key);
        if form.json {
            let (what, text) = match record {
                Ok(text) => ("record", text),
                Err(why) => ("damaged", why),
            };
            let line =
                serde_json::json!({ "family": family, "key": key, "bytes": bytes, what: text });
            return writeln!(output, "{line}");
        }
        match record {
            Ok(text) => writeln!(output, "{family}/{key}: {text}"),
            Err(why) => writeln!(output, "{family}/{key}: damaged: {why}"),
        }
    };
    storage::dump(data_dir, &mut show).map_err(parted)
}

pub(super) fn stats(
    data_dir: &Path,
    form: &Form,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let Stats { schema, disk_bytes, families } =
        storage::stats(data_dir).map_err(StoreError::Storage)?;
    if form.json {
        let families: serde_json::Map<String, serde_json::Value> = families
            .iter()
            .map(|FamilyStats { name, records, bytes }| {
                ((*name).to_owned(), serde_json::json!({ "records": records, "bytes": bytes }))
            })
            .collect();
        let line = serde_json::json!({
            "schema": schema, "disk_bytes": disk_bytes, "families": families,
        });
        return Ok(writeln!(output, "{line}")?);
    }
    writeln!(output, "schema {schema}, {disk_bytes} bytes on disk")?;
    for FamilyStats { name, records, bytes } in families {
        writeln!(output, "{name:14}{records:>12} records{bytes:>16} bytes")?;
    }
    Ok(())
}
