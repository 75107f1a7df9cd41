//! DISCONNECT (3.14).

use crate::vocabulary::*;
