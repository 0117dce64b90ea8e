//! Progress on standard error, for a person at a terminal; nothing for a program.
//!
//! Only what takes a while is shown: a large request on its way, then the time until its answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Requests of fewer bytes are sent before anybody could look.
const LARGE: u64 = 1 << 20;

/// How often what turns is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A progress that is shown; gone from the screen when it is dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<Option<ProgressBar>>>);

impl Progress {
    fn show(&self, bar: ProgressBar) {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    /// So many bytes of a request have been sent.
    pub(crate) fn sent(&self, bytes: u64, of: u64) {
        if of < LARGE {
            return;
        }
        let bar = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match bar {
            None => {
                let bar = ProgressBar::hidden();
                bar.set_length(of);
                bar.set_style(style("{bar:30} {bytes}/{total_bytes} sent"));
                bar.set_position(bytes);
                self.show(bar);
            }
            Some(bar) if bytes == of => {
                bar.set_style(style("{spinner} {elapsed} in the making"));
                bar.set_position(bytes);
            }
            Some(bar) => bar.set_position(bytes),
        }
    }

    /// Takes it from the screen.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

/// Something that turns until it is finished.
pub(crate) fn waiting(what: &str) -> Progress {
    let progress = Progress::default();
    let bar = ProgressBar::hidden();
    bar.set_style(style("{spinner} {elapsed} {msg}"));
    bar.set_message(what.to_owned());
    progress.show(bar);
    progress
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right_and_small_requests_are_not_shown() {
        for template in [
            "{bar:30} {bytes}/{total_bytes} sent",
            "{spinner} {elapsed} {msg}",
        ] {
            ProgressStyle::with_template(template).unwrap();
        }
        let shown = |progress: &Progress| progress.0.lock().unwrap().is_some();
        let progress = Progress::default();
        progress.sent(10, 100);
        assert!(!shown(&progress));
        progress.sent(0, 2 * LARGE);
        progress.sent(2 * LARGE, 2 * LARGE);
        assert!(shown(&progress));
        progress.finish();
        assert!(!shown(&progress));
    }
}
