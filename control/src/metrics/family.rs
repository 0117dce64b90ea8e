//! Metric families filled from a snapshot.
//!
//! Nothing is counted here: what the dataplane has counted is read once per scrape and laid out
//! in the exposition's terms. So a scrape costs one pass over the snapshot, and nobody can forget
//! to bump a metric.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Labels of one sample.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// One family under construction.
pub(super) struct Family {
    family: MetricFamily,
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Family {
    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::new(MetricType::COUNTER, name, help)
    }

    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::new(MetricType::GAUGE, name, help)
    }

    pub(super) fn histogram(name: &str, help: &str) -> Self {
        Self::new(MetricType::HISTOGRAM, name, help)
    }

    fn new(kind: MetricType, name: &str, help: &str) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self {
            family,
            kind,
            metrics: Vec::new(),
        }
    }

    /// Adds a sample of a counter or gauge.
    pub(super) fn add(&mut self, labels: Labels<'_>, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds a histogram: what each bound holds above the bound before, and the sum of all values.
    pub(super) fn observe(&mut self, labels: Labels<'_>, buckets: &[(f64, u64)], sum: f64) {
        let mut count = 0;
        let mut cumulated = Vec::with_capacity(buckets.len());
        for (bound, here) in buckets {
            count += here;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            cumulated.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(cumulated);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// The family; `None` when it has no sample, which the text format does not allow.
    pub(super) fn finish(mut self) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        self.family.set_metric(self.metrics);
        Some(self.family)
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
