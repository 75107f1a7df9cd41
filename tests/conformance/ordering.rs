//! The order of messages (4.6).

use crate::vocabulary::*;
