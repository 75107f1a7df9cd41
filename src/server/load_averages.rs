//! Load averages as Mosquitto has them: how often something happens in a minute, of late.

use std::time::Instant;

/// What an average looks back over: its name in a topic, and its seconds.
pub(super) const PERIODS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

const MINUTE: f64 = 60.0;

/// Exponential moving averages of counts that only grow, an array of `PERIODS` for each.
#[derive(Debug)]
pub(super) struct LoadAverages {
    loads: Vec<Load>,
    updated: Instant,
}

#[derive(Clone, Copy, Default, Debug)]
struct Load {
    /// At the last update.
    count: u64,
    averages: [f64; PERIODS.len()],
}

impl LoadAverages {
    /// Of so many counts, all zero until now.
    pub(super) fn new(counts: usize, now: Instant) -> Self {
        Self { loads: vec![Load::default(); counts], updated: now }
    }

    /// Takes the counts of this moment, in the same order each time.
    pub(super) fn update(&mut self, now: Instant, counts: impl Iterator<Item = u64>) {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        if elapsed <= 0.0 {
            return;
        }
        self.updated = now;
        for (load, count) in self.loads.iter_mut().zip(counts) {
            let more = count.saturating_sub(load.count);
            load.count = count;
            #[expect(clippy::cast_precision_loss, reason = "two decimals of it are shown")]
            let each_minute = more as f64 * MINUTE / elapsed;
            for (average, (_, period)) in load.averages.iter_mut().zip(PERIODS) {
                *average = each_minute + (-elapsed / period).exp() * (*average - each_minute);
            }
        }
    }

    /// The average of one count over one of the periods.
    pub(super) fn average(&self, count: usize, period: usize) -> f64 {
        self.loads
            .get(count)
            .and_then(|load| load.averages.get(period))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(loads: &LoadAverages, count: usize) -> [String; 3] {
        std::array::from_fn(|period| format!("{:.2}", loads.average(count, period)))
    }

    /// What Mosquitto 2.0.11 publishes with updates 3 s apart: one CONNECT and 27 bytes before the
    /// first of them, and nothing after it. (It leaves out the changes below 0.01.)
    #[test]
    fn the_averages_are_those_of_mosquitto() {
        let start = Instant::now();
        let mut loads = LoadAverages::new(2, start);

        loads.update(start + Duration::from_secs(3), [1, 27].into_iter());
        assert_eq!(shown(&loads, 0), ["0.98", "0.20", "0.07"]);
        assert_eq!(shown(&loads, 1), ["26.34", "5.37", "1.80"]);

        loads.update(start + Duration::from_secs(6), [1, 27].into_iter());
        assert_eq!(shown(&loads, 0), ["0.93", "0.20", "0.07"]);
        assert_eq!(shown(&loads, 1), ["25.05", "5.32", "1.79"]);
    }

    #[test]
    fn a_steady_load_becomes_its_own_average_however_often_it_is_looked_at() {
        let start = Instant::now();
        for step in [1, 10, 60] {
            let mut loads = LoadAverages::new(1, start);
            for seconds in (0..14_400).step_by(step).skip(1) {
                let now = start + Duration::from_secs(seconds);
                loads.update(now, std::iter::once(seconds * 5));
            }

            assert_eq!(shown(&loads, 0), ["300.00"; 3], "every {step} s");
        }
    }

    #[test]
    fn an_update_in_no_time_changes_nothing() {
        let start = Instant::now();
        let mut loads = LoadAverages::new(1, start);

        loads.update(start, std::iter::once(7));
        loads.update(start + Duration::from_secs(60), std::iter::once(7));

        assert_eq!(shown(&loads, 0), ["4.42", "1.27", "0.45"]);
    }
}
