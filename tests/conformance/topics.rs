//! Topic Names and Topic Filters (4.7).

use crate::vocabulary::*;
