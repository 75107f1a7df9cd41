//! What the topic trees cost: cold matches, changes, scans, and bytes per filter.

#![expect(clippy::print_stdout, reason = "memory is not a time, so criterion cannot report it")]
#![expect(clippy::expect_used, reason = "a bench that writes a wrong filter shall stop")]

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use dunlin::topic::{RetainedTree, SubscriptionTree, TopicFilter, TopicName};

const SIZES: [usize; 4] = [10, 1_000, 100_000, 1_000_000];
const PAGE_BYTES: usize = 4_096;

/// What a router would keep: an id, and the options of a Subscription.
type Tree = SubscriptionTree<u64, u64>;

/// Spreads numbers, so that neighbours in time are no neighbours in memory.
fn scatter(n: usize, size: usize) -> usize {
    (n * 7_919 + 104_729) % size
}

fn name_text(n: usize) -> String {
    format!("plant/{}/line{}/device{n}/temperature", n % 100, n % 1_000)
}

fn name(n: usize) -> TopicName {
    TopicName::parse(&name_text(n)).expect("a valid name")
}

/// One filter of ten has a wildcard, of five shapes.
fn filter(n: usize) -> TopicFilter {
    let text = match n % 50 {
        0 => format!("plant/{}/line{}/device{n}/#", n % 100, n % 1_000),
        10 => format!("plant/{}/+/device{n}/temperature", n % 100),
        20 => format!("plant/+/+/device{n}/#"),
        30 => format!("+/{}/line{}/device{n}/+", n % 100, n % 1_000),
        40 => format!("plant/{}/line{}/+/alarm{n}", n % 100, n % 1_000),
        _ => name_text(n),
    };
    TopicFilter::parse(&text).expect("a valid filter")
}

fn tree(size: usize) -> Tree {
    let mut tree = Tree::new();
    for n in 0..size {
        tree.insert(&filter(n), n as u64, 0);
    }
    tree
}

/// Nearly every name matches the filter made for it, and is met again only after all others.
fn cold_match(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold match");
    for size in SIZES {
        let tree = tree(size);
        let names: Vec<_> = (0..size).map(|n| name(scatter(n, size))).collect();
        let mut next = names.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let mut found = 0;
                if let Some(name) = next.next() {
                    tree.for_each_match(name, |subscribers| found += subscribers.len());
                }
                black_box(found)
            });
        });
    }
    group.finish();
}

fn change(criterion: &mut Criterion) {
    let size = 1_000_000;
    let mut tree = tree(size);
    let filters: Vec<_> = (0..size).map(|n| filter(scatter(n, size))).collect();
    let mut next = filters.iter().cycle();
    criterion.bench_function("insert into and remove from 1000000 filters", |bencher| {
        bencher.iter_batched(
            || next.next().cloned().unwrap_or_else(|| filter(0)),
            |filter| {
                tree.insert(&filter, u64::MAX, 0);
                black_box(tree.remove(&filter, &u64::MAX));
            },
            BatchSize::SmallInput,
        );
    });

    let mut fresh = (size..).map(filter);
    criterion.bench_function("insert and remove a new filter beside 1000000", |bencher| {
        bencher.iter_batched(
            || fresh.next().unwrap_or_else(|| filter(0)),
            |filter| {
                tree.insert(&filter, 0, 0);
                black_box(tree.remove(&filter, &0));
            },
            BatchSize::SmallInput,
        );
    });

    let popular = TopicFilter::parse("news/#").expect("a valid filter");
    for key in 0..100_000 {
        tree.insert(&popular, key, 0);
    }
    let mut key = 100_000;
    criterion.bench_function("insert and remove the 100001st subscriber", |bencher| {
        bencher.iter(|| {
            key += 1;
            tree.insert(&popular, key, 0);
            black_box(tree.remove(&popular, &(key % 100_000)));
            tree.insert(&popular, key % 100_000, 0);
            black_box(tree.remove(&popular, &key))
        });
    });
}

fn retained(criterion: &mut Criterion) {
    let size = 1_000_000;
    let mut tree = RetainedTree::new();
    let names: Vec<_> = (0..size).map(|n| name(scatter(n, size))).collect();
    for name in &names {
        tree.insert(name.clone(), 0_u64);
    }
    let mut next = names.iter().cycle();
    criterion.bench_function("retained: replace one of 1000000", |bencher| {
        bencher.iter(|| next.next().and_then(|name| tree.insert(name.clone(), 1)));
    });
    criterion.bench_function("retained: remove and add one of 1000000", |bencher| {
        bencher.iter(|| {
            let name = next.next()?;
            let old = tree.remove(name)?;
            tree.insert(name.clone(), old)
        });
    });
    for text in ["#", "plant/+/+/+/temperature", "plant/+/line7/#"] {
        let filter = TopicFilter::parse(text).expect("a valid filter");
        let mut cursor = None;
        criterion.bench_function(&format!("retained: slice of 256 with {text}"), |bencher| {
            bencher.iter(|| {
                let mut found = 0;
                let from = cursor.as_ref();
                cursor = tree.scan(&filter, from, 256, 4_096, |_, value| found += value);
                black_box(found)
            });
        });
    }
}

/// Not for criterion: memory per filter, and how long the slowest insert keeps a lock.
fn memory(_: &mut Criterion) {
    let size = 1_000_000;
    let filters: Vec<_> = (0..size).map(filter).collect();
    let text_bytes: usize = filters.iter().map(|filter| filter.as_str().len()).sum();
    let before = resident_bytes();
    let mut tree = Tree::new();
    let mut slowest = Duration::ZERO;
    for (key, filter) in (0..).zip(&filters) {
        let start = Instant::now();
        tree.insert(filter, key, 0);
        slowest = slowest.max(start.elapsed());
    }
    let bytes = resident_bytes().saturating_sub(before);
    println!(
        "memory: {} bytes a filter beside its text of {} bytes, slowest insert {slowest:?}",
        bytes / tree.filters(),
        text_bytes / size,
    );
    drop(tree);

    let before = resident_bytes();
    let names: Vec<_> = (0..size).map(name).collect();
    let between = resident_bytes();
    let mut tree = RetainedTree::new();
    for name in names {
        tree.insert(name, 0_u64);
    }
    println!(
        "memory: {} bytes a retained value beside its name, names {}",
        resident_bytes().saturating_sub(between) / tree.len(),
        between.saturating_sub(before) / tree.len(),
    );
}

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * PAGE_BYTES
}

criterion_group!(benches, memory, cold_match, change, retained);
criterion_main!(benches);
