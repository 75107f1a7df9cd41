//! UNSUBSCRIBE and UNSUBACK (3.10, 3.11).

use crate::vocabulary::*;
