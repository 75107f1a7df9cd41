//! What clients do in practice and brokers get wrong.

use crate::vocabulary::*;
