//! Handling errors (4.13).

use crate::vocabulary::*;
