//! The fixed header, flags, Packet Identifiers and properties (chapter 2).

use crate::vocabulary::*;
