//! The clients, each behind the same few operations.

mod mosquitto;
mod paho_c;
mod process;
mod rumqttc;

use crate::{
    client::{Driver, Version},
    tool::{libraries, source},
};
use process::{Command, Program};

/// Most speak 3.1 as well; Mosquitto's tools do that for all of them.
const COMMON_VERSIONS: &[Version] = &[Version::V311, Version::V5];

/// Debian's `mosquitto_sub` and `mosquitto_pub`.
pub(crate) fn mosquitto() -> Box<dyn Driver> {
    Box::new(mosquitto::Mosquitto)
}

pub(crate) fn paho_python() -> Box<dyn Driver> {
    // -B: no compiled files beside the script.
    let arguments = vec!["-B".into(), source("paho_python/client.py")];
    let environment = vec![("PYTHONPATH", libraries("python"))];
    let command = Command { program: "python3".into(), arguments, environment };
    Box::new(Program { versions: COMMON_VERSIONS, command })
}

pub(crate) fn mqttjs() -> Box<dyn Driver> {
    let arguments = vec![source("mqttjs/client.mjs")];
    let environment = vec![("MQTTJS_FOLDER", libraries("node"))];
    let command = Command { program: "node".into(), arguments, environment };
    Box::new(Program { versions: COMMON_VERSIONS, command })
}

pub(crate) fn paho_c() -> Box<dyn Driver> {
    let command =
        Command { program: paho_c::compiled(), arguments: Vec::new(), environment: Vec::new() };
    Box::new(Program { versions: COMMON_VERSIONS, command })
}

pub(crate) fn rumqttc() -> Box<dyn Driver> {
    Box::new(rumqttc::Rumqttc)
}
