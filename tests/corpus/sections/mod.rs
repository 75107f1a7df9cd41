//! The cases, by what is wrong with them.

mod allowed;
mod authentication;
mod codes;
mod connect;
mod cuts;
mod first_bytes;
mod flow;
mod lengths;
mod properties;
mod runs;
mod strings;
mod topics;
mod values;

pub(crate) use authentication::LISTENER;

use crate::case::Corpus;

/// What is sent to a broker as it is without a configuration.
pub(crate) fn all() -> Corpus {
    let mut corpus = Corpus::default();
    first_bytes::add(&mut corpus);
    lengths::add(&mut corpus);
    cuts::add(&mut corpus);
    strings::add(&mut corpus);
    properties::add(&mut corpus);
    values::add(&mut corpus);
    codes::add(&mut corpus);
    connect::add(&mut corpus);
    topics::add(&mut corpus);
    flow::add(&mut corpus);
    runs::add(&mut corpus);
    allowed::add(&mut corpus);
    corpus
}

/// What is sent to a listener that has a credential.
pub(crate) fn authenticating() -> Corpus {
    let mut corpus = Corpus::default();
    authentication::add(&mut corpus);
    corpus
}
