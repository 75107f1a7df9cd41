//! What was measured, as a table.

use std::fmt;
use std::time::Duration;

use crate::broker::{Kind, Usage};

/// One counted run of one broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) delivered: u64,
    pub(crate) wall: Duration,
    pub(crate) broker: Usage,
    /// Of the load: what it takes bounds what the broker can be driven to.
    pub(crate) load: Usage,
}

/// All counted runs of one broker with one pattern and window.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) pattern: &'static str,
    pub(crate) window: u64,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// The values of one quantity over all rounds.
struct Spread(Vec<f64>);

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
    fn each(&self, amount: f64) -> f64 {
        amount / self.delivered.max(1) as f64
    }

    fn microseconds_each(&self, usage: Usage) -> f64 {
        self.each(usage.total.as_secs_f64() * 1e6)
    }

    fn kernel_share(&self) -> f64 {
        let Usage { kernel, user, .. } = self.broker;
        kernel.as_secs_f64() / (kernel + user).as_secs_f64().max(f64::EPSILON)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
    fn sleeps_each(&self) -> f64 {
        self.each(self.broker.sleeps as f64)
    }
}

impl Spread {
    fn of(series: &Series, value: impl Fn(&Sample) -> f64) -> Self {
        let mut values: Vec<f64> = series.samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        if self.0.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        }
    }

    fn range(&self) -> String {
        let at = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        format!("{:.3}..{:.3}", at(self.0.first()), at(self.0.last()))
    }
}

impl Series {
    fn microseconds_each(&self) -> Spread {
        Spread::of(self, |sample| sample.microseconds_each(sample.broker))
    }
}

pub(crate) const HEADING: &str = "\
pattern window broker       CPU us/msg         min..max  kernel  mosquitto/it   sleeps/msg      msg/s  load us/msg";

/// A line of the table; `reference` is mosquitto under the same load, if it was measured.
pub(crate) struct Line<'a> {
    pub(crate) series: &'a Series,
    pub(crate) reference: Option<&'a Series>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = self.series;
        let cost = series.microseconds_each();
        let ratio = self.reference.map(|other| other.microseconds_each().median() / cost.median());
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}x"));
        let kernel = Spread::of(series, |sample| sample.kernel_share() * 100.0).median();
        let sleeps = Spread::of(series, Sample::sleeps_each).median();
        let speed = Spread::of(series, |sample| 1.0 / sample.each(sample.wall.as_secs_f64()));
        let load = Spread::of(series, |sample| sample.microseconds_each(sample.load));
        write!(
            to,
            "{:<7} {:>6} {:<12} {:>10.3} {:>16} {kernel:>6.0}% {ratio:>13} {sleeps:>12.4} {:>10.0} {:>12.3}",
            series.pattern,
            series.window,
            series.kind,
            cost.median(),
            cost.range(),
            speed.median(),
            load.median(),
        )
    }
}
