//! Telling a person how far a fetch has come.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Receives the progress of a pull or an import. Every method may be called from any thread.
pub trait Progress: Send + Sync {
    /// A step begins: `what` in words, `total` bytes to come.
    fn start(&self, what: &str, total: u64);
    /// `bytes` of the current step are done.
    fn advance_to(&self, bytes: u64);
    /// The current step is over, well or not.
    fn finish(&self);
    /// A line worth reading: a source that failed, a wait.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance_to(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn note(&self, _line: &str) {}
}

/// A bar on standard error; where that is no terminal, only the notes and one line a step.
#[derive(Debug)]
pub struct TerminalBar(ProgressBar);

impl TerminalBar {
    /// A bar that shows nothing until a step starts.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .expect("the template is a constant")
            .progress_chars("=> ");
        Self(ProgressBar::new(0).with_style(style))
    }
}

impl Default for TerminalBar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for TerminalBar {
    fn start(&self, what: &str, total: u64) {
        if self.0.is_hidden() {
            eprintln!("{what} ({})", HumanBytes(total));
            return;
        }
        self.0.reset();
        self.0.set_length(total);
        self.0.set_message(what.to_owned());
    }

    fn advance_to(&self, bytes: u64) {
        // A download may for a moment lie on the disk twice.
        self.0.set_position(bytes.min(self.0.length().unwrap_or(bytes)));
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }

    fn note(&self, line: &str) {
        if self.0.is_hidden() {
            eprintln!("{line}");
        } else {
            self.0.println(line);
        }
    }
}
