//! CONNACK (3.2).

use crate::vocabulary::*;
