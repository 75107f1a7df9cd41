//! Shared Subscriptions (4.8).

use crate::vocabulary::*;
