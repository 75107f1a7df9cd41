//! PUBLISH: its properties (3.3.2.3).

use crate::vocabulary::*;
