//! Compiles the program around Paho for C, once for all tests.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, id},
    sync::OnceLock,
};

use crate::tool::source;

pub(crate) fn compiled() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(compile).clone()
}

fn compile() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (program, mine) = (folder.join("paho-c"), folder.join(format!("paho-c-{}", id())));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&mine);
    compiler.arg(source("paho_c/client.c")).arg("-lpaho-mqtt3c");
    let output = match compiler.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("cc is missing: run tests/run.sh, which installs it")
        }
        Err(error) => panic!("cc does not start: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let missing = said.contains("MQTTClient.h") || said.contains("paho-mqtt3c");
    assert!(!missing, "Paho for C is missing: run tests/run.sh, which installs it\n{said}");
    assert!(output.status.success(), "{said}");
    // Whoever runs these tests at the same time sees one or the other, and each of them whole.
    fs::rename(mine, &program).expect("the program is put in its place");
    program
}
