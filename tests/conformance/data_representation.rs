//! Strings, integers and binary data (1.5).

use crate::vocabulary::*;
