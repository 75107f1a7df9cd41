//! CONNECT: its properties, Will and credentials (3.1).

use crate::vocabulary::*;
