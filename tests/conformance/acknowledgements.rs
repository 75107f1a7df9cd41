//! PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).

use crate::vocabulary::*;
