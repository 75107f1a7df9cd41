//! AUTH (3.15) and enhanced authentication (4.12).

use crate::vocabulary::*;
