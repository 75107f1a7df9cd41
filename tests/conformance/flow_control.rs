//! Flow control (4.9).

use crate::vocabulary::*;
