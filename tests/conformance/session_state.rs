//! Session State (4.1) and network connections (4.2).

use crate::vocabulary::*;
