//! Retained Messages (3.3.1.3).

use crate::vocabulary::*;
