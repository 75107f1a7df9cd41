//! The Will Message in time: delays, takeovers, ends of Sessions (3.1.2.5, 3.1.3.2).

use crate::vocabulary::*;
