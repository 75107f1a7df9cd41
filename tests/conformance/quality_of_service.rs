//! Quality of Service levels (4.3), message retry (4.4), receipt (4.5).

use crate::vocabulary::*;
