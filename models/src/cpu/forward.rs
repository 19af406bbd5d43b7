//! The transformer as steps whose pieces threads share.
//!
//! Texts of a batch lie one after another, each token a row: nothing is padded but the last tile. A step's pieces write
//! disjoint rows, or disjoint columns of all rows:
//!
//! | step | a piece is | reads | writes |
//! |---|---|---|---|
//! | embed | some rows | ids | states |
//! | attend | some heads, alone or in pairs | states | its heads' columns of the context |
//! | project | some columns | context | its columns of the addend |
//! | join | some rows | addend | states = norm(states + addend) |
//! | expand | some columns | states | its columns of the inner values, activated |
//! | contract | some columns | inner values | its columns of the addend |
//! | join | some rows | addend | states |
//! | pool | some texts | states | results |
//!
//! Bytes are quantised a whole row at a time, so that int8 has a step more after `attend` and `expand`.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
use super::kernel::{Kernel, Precision};
use super::pack::{Matrix, PANEL};
use super::parameters::{NormParameters, Parameters};
use super::product::{BLOCK, Multiplier, Product, RowScale};
use super::simd::{Attention, Head, Norm, Routines};
use super::team::{Progress, Work};
use crate::recipe::Pooling;

/// Rows of a tile: buffers hold whole ones.
const TILE: usize = 16;
/// Scratch of one worker that stays in its core's second-level cache.
const SCRATCH: usize = 128 << 10;

/// One step; the number is the layer's.
#[derive(Clone, Copy, Debug)]
enum Step {
    Embed,
    Attend(usize),
    EncodeContext,
    Project(usize),
    JoinAttention(usize),
    Expand(usize),
    EncodeInner,
    Contract(usize),
    JoinOutput(usize),
    Pool,
}

/// What does not change from batch to batch.
pub(super) struct Plan {
    pub(super) parameters: Parameters,
    pub(super) pooling: Pooling,
    routines: Routines,
    multiplier: Multiplier,
    precision: Precision,
    steps: Vec<Step>,
}

impl Plan {
    pub(super) fn new(parameters: Parameters, pooling: Pooling, kernel: Kernel) -> Self {
        let precision = kernel.precision();
        let mut steps = vec![Step::Embed];
        for layer in 0..parameters.layers.len() {
            steps.push(Step::Attend(layer));
            if precision == Precision::Int8 {
                steps.push(Step::EncodeContext);
            }
            steps.extend([Step::Project(layer), Step::JoinAttention(layer), Step::Expand(layer)]);
            if precision == Precision::Int8 {
                steps.push(Step::EncodeInner);
            }
            steps.extend([Step::Contract(layer), Step::JoinOutput(layer)]);
        }
        steps.push(Step::Pool);
        Self { parameters, pooling, routines: kernel.routines(), multiplier: Multiplier::of(kernel), precision, steps }
    }

    fn context(&self) -> usize {
        self.parameters.heads * self.parameters.head_size
    }
}

/// Rows in the type of the products' inputs, and what a byte stands for.
struct Encoded {
    rows: Buffer,
    /// Bytes from one row to the next; what lies past a row's values is zero.
    stride: usize,
    /// `[rows][blocks]`; bytes only.
    scales: Buffer,
    blocks: usize,
}

impl Encoded {
    fn new(width: usize, precision: Precision) -> Self {
        let depth = width.next_multiple_of(precision.depth_step());
        let blocks = if precision == Precision::Int8 { depth.div_ceil(BLOCK) } else { 0 };
        Self { rows: Buffer::new(0), stride: depth * precision.bytes(), scales: Buffer::new(0), blocks }
    }

    fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows * self.stride);
        // One more than is used, so that even none has a place.
        self.scales.reserve((rows * self.blocks + 1) * size_of::<RowScale>());
    }
}

/// One batch on its way, with all the memory that it needs: made once, used again and again.
pub(super) struct Pass {
    plan: Arc<Plan>,
    progress: Progress,
    /// Threads that may share the pieces.
    workers: usize,
    ids: Vec<u32>,
    /// Where each text's tokens begin, and where the last one's end.
    starts: Vec<usize>,
    /// `[rows][hidden]`
    states: Buffer,
    addend: Buffer,
    /// f32 rows of what int8 quantises afterwards; empty otherwise.
    context: Buffer,
    inner: Buffer,
    states_encoded: Encoded,
    context_encoded: Encoded,
    inner_encoded: Encoded,
    /// One a worker.
    scratch: Vec<Buffer>,
    /// `[texts][hidden]`
    results: Buffer,
}

impl Pass {
    pub(super) fn new(plan: Arc<Plan>, workers: usize) -> Self {
        let empty = || Buffer::new(0);
        let encoded = |width| Encoded::new(width, plan.precision);
        Self {
            progress: Progress::default(),
            workers,
            ids: Vec::new(),
            starts: Vec::new(),
            states: empty(),
            addend: empty(),
            context: empty(),
            inner: empty(),
            states_encoded: encoded(plan.parameters.hidden),
            context_encoded: encoded(plan.context()),
            inner_encoded: encoded(plan.parameters.inner),
            scratch: (0..workers).map(|_| empty()).collect(),
            results: empty(),
            plan,
        }
    }

    /// Takes up a batch: at least one text, each of at least one token, ids under the vocabulary, no more tokens in one
    /// text than there are places.
    pub(super) fn begin<'a>(&mut self, texts: impl Iterator<Item = &'a [u32]>) {
        let parameters = &self.plan.parameters;
        let (hidden, places) = (parameters.hidden, parameters.places.len() / parameters.hidden);
        self.ids.clear();
        self.starts.clear();
        self.starts.push(0);
        let mut longest = 0;
        for text in texts {
            assert!((1..=places).contains(&text.len()), "a text has {} tokens, the model {places} places", text.len());
            self.ids.extend_from_slice(text);
            self.starts.push(self.ids.len());
            longest = longest.max(text.len());
        }
        let words = parameters.words.len() / hidden;
        assert!(self.ids.iter().all(|&id| (id as usize) < words), "a token id is beyond the {words} of the vocabulary");
        assert!(self.starts.len() > 1, "a batch holds a text");

        let rows = self.ids.len().next_multiple_of(TILE);
        self.states.reserve(rows * hidden * 4);
        self.addend.reserve(rows * hidden * 4);
        if self.plan.precision == Precision::Int8 {
            self.context.reserve(rows * self.plan.context() * 4);
            self.inner.reserve(rows * parameters.inner * 4);
        }
        self.states_encoded.reserve(rows);
        self.context_encoded.reserve(rows);
        self.inner_encoded.reserve(rows);
        let heads = rows * self.heads_together() * 3 * parameters.head_size;
        let head = heads + Attention::scratch(longest, parameters.head_size);
        let columns = rows * self.expansion_columns();
        for scratch in &mut self.scratch {
            scratch.reserve(head.max(columns) * 4);
        }
        self.results.reserve((self.starts.len() - 1) * hidden * 4);
        let first = self.pieces(0);
        self.progress.reset(first);
    }

    /// Does the whole batch on this thread.
    pub(super) fn run_alone(&self) {
        for step in 0..self.steps() {
            for piece in 0..self.pieces(step) {
                self.run(step, piece, 0);
            }
        }
    }

    /// The pooled states, `[hidden]` each, once all steps are done.
    pub(super) fn results(&self) -> impl Iterator<Item = &[f32]> {
        let hidden = self.plan.parameters.hidden;
        // SAFETY: the results were written in the last step, and nothing writes them until the next `begin`, which needs
        // the pass for itself.
        let results = unsafe { self.results.values(0..(self.starts.len() - 1) * hidden) };
        results.chunks_exact(hidden)
    }

    fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Columns of the expansion that one worker has in scratch at a time, at least.
    fn expansion_columns(&self) -> usize {
        let inner = self.plan.parameters.inner;
        let block = PANEL * stride_of(inner);
        inner.div_ceil(self.column_pieces(inner)).next_multiple_of(block) + block
    }

    /// Pieces of a step over `columns` columns of all rows: enough to share, and each small enough for the cache. One
    /// worker alone, and a short batch, take as few as possible.
    fn column_pieces(&self, columns: usize) -> usize {
        let shared = if self.workers == 1 { 1 } else { self.workers * 4 };
        let cached = (self.rows() * columns * 4).div_ceil(SCRATCH);
        shared.max(cached).clamp(1, columns / (PANEL * stride_of(columns)))
    }

    /// Heads that are projected by one product: a few rows leave room for two, whose panels then fill whole tiles.
    fn heads_together(&self) -> usize {
        if self.rows() <= 64 && self.plan.parameters.heads.is_multiple_of(2) { 2 } else { 1 }
    }

    fn units(&self, step: Step) -> (usize, usize) {
        let parameters = &self.plan.parameters;
        let blocks = |columns| (columns / PANEL / stride_of(columns), self.column_pieces(columns));
        let row_pieces = if self.workers == 1 { 1 } else { self.workers * 2 };
        match step {
            Step::Embed | Step::JoinAttention(_) | Step::JoinOutput(_) | Step::EncodeContext | Step::EncodeInner => {
                (self.rows(), row_pieces.min(self.rows()))
            }
            Step::Attend(_) => {
                let groups = parameters.heads / self.heads_together();
                (groups, groups.min(self.workers * 6))
            }
            Step::Project(_) | Step::Contract(_) => blocks(parameters.hidden),
            Step::Expand(_) => blocks(parameters.inner),
            Step::Pool => {
                let texts = self.starts.len() - 1;
                (texts, texts.min(self.workers))
            }
        }
    }

    /// The rows, heads, blocks of panels or texts of one piece.
    fn share(&self, step: Step, piece: u16) -> Range<usize> {
        let (units, pieces) = self.units(step);
        let piece = usize::from(piece);
        units * piece / pieces..units * (piece + 1) / pieces
    }

    fn embed(&self, rows: Range<usize>) {
        let Parameters { hidden, words, places, embedding_norm, .. } = &self.plan.parameters;
        let mut text = self.starts.partition_point(|&start| start <= rows.start) - 1;
        for row in rows {
            while self.starts[text + 1] <= row {
                text += 1;
            }
            let word = self.ids[row] as usize * hidden;
            let place = (row - self.starts[text]) * hidden;
            let (word, place) = (&words[word..word + hidden], &places[place..place + hidden]);
            // SAFETY: the row is this piece's own; word and place are rows of `hidden` values.
            unsafe {
                let state = self.states.value(row * hidden);
                std::ptr::copy_nonoverlapping(word.as_ptr(), state, *hidden);
                self.join_row(row, place.as_ptr(), embedding_norm);
            }
        }
    }

    /// `states[row] = norm(states[row] + addend)`, encoded as well.
    ///
    /// # Safety
    /// The row is the caller's own, `addend` a row of `hidden` values.
    unsafe fn join_row(&self, row: usize, addend: *const f32, norm: &NormParameters) {
        let hidden = self.plan.parameters.hidden;
        let norm = Norm { gain: &norm.gain, shift: &norm.shift, epsilon: self.plan.parameters.epsilon };
        // SAFETY: as promised by the caller; the kernel's instructions are there, since it was detected.
        unsafe {
            let state = self.states.value(row * hidden);
            (self.plan.routines.add_norm)(state, addend, &norm);
            self.encode(state, hidden, &self.states_encoded, row, 0);
        }
    }

    fn join(&self, rows: Range<usize>, norm: &NormParameters) {
        for row in rows {
            // SAFETY: the row is this piece's own; the addend was finished a step ago.
            unsafe { self.join_row(row, self.addend.value(row * self.plan.parameters.hidden), norm) };
        }
    }

    /// Encodes `width` values into `to`'s `row` from value `column` on.
    ///
    /// # Safety
    /// `width` values behind `from`; the row's columns are the caller's own. Bytes: whole rows only.
    unsafe fn encode(&self, from: *const f32, width: usize, to: &Encoded, row: usize, column: usize) {
        // SAFETY: as promised by the caller; rows and scales were reserved.
        unsafe {
            let place = to.rows.at(row * to.stride + column * self.plan.precision.bytes());
            let scales = to.scales.at(row * to.blocks * size_of::<RowScale>()).cast();
            (self.plan.multiplier.encode)(from, width, place, scales);
        }
    }

    fn encode_rows(&self, rows: Range<usize>, from: &Buffer, width: usize, to: &Encoded) {
        for row in rows {
            // SAFETY: the row is this piece's own, and was finished a step ago.
            unsafe { self.encode(from.value(row * width), width, to, row, 0) };
        }
    }

    /// All rows of `input` times some panels.
    ///
    /// # Safety
    /// `output` holds all rows, padded to whole tiles, of `stride` values, and the written columns are the caller's own.
    unsafe fn multiply(
        &self,
        input: &Encoded,
        matrix: &Matrix,
        panels: Range<usize>,
        output: *mut f32,
        output_stride: usize,
    ) {
        let product = Product {
            // SAFETY: the input was finished a step ago and is written by nobody now.
            input: unsafe { input.rows.at(0) },
            input_stride: input.stride,
            rows: self.rows(),
            output,
            output_stride,
            // SAFETY: as above.
            rows_scale: unsafe { input.scales.at(0).cast() },
            ..matrix.product(panels.start, panels.len())
        };
        // SAFETY: as promised by the caller; the kernel's instructions are there, since it was detected.
        unsafe { (self.plan.multiplier.multiply)(&product) };
    }

    fn attend(&self, layer: usize, groups: Range<usize>, worker: usize) {
        let Parameters { head_size: size, layers, bias, .. } = &self.plan.parameters;
        let (size, together) = (*size, self.heads_together());
        let (stride, panels) = (together * 3 * size, together * 3 * size / PANEL);
        let padded = self.rows().next_multiple_of(TILE);
        for group in groups {
            // SAFETY: the scratch is this worker's own and holds the rows of the group's heads and attention's own scratch
            // after them; columns of the context belong to a head, and the head to this piece.
            unsafe {
                let rows = self.scratch[worker].value(0);
                let matrix = &layers[layer].attention;
                self.multiply(&self.states_encoded, matrix, group * panels..(group + 1) * panels, rows, stride);
                for (place, head) in (group * together..(group + 1) * together).enumerate() {
                    let rows = rows.add(place * 3 * size);
                    let scratch = self.scratch[worker].value(padded * stride);
                    for text in self.starts.windows(2) {
                        let head = Head {
                            rows: rows.add(text[0] * stride),
                            stride,
                            tokens: text[1] - text[0],
                            size,
                            bias: bias
                                .as_ref()
                                .map_or(std::ptr::null(), |bias| bias.values.as_ptr().add(bias.zero_of(head))),
                        };
                        (self.plan.routines.attend)(&head, scratch);
                    }
                    for row in 0..self.rows() {
                        let values = rows.add(row * stride);
                        if self.plan.precision == Precision::Int8 {
                            let place = self.context.value(row * self.plan.context() + head * size);
                            std::ptr::copy_nonoverlapping(values, place, size);
                        } else {
                            self.encode(values, size, &self.context_encoded, row, head * size);
                        }
                    }
                }
            }
        }
    }

    fn expand(&self, layer: usize, panels: Range<usize>, worker: usize) {
        let Parameters { inner, activation, layers, .. } = &self.plan.parameters;
        let (first, width) = (panels.start * PANEL, panels.len() * PANEL);
        // SAFETY: the scratch is this worker's own and holds all rows of the piece's columns, which are its own.
        unsafe {
            let rows = self.scratch[worker].value(0);
            self.multiply(&self.states_encoded, &layers[layer].expansion, panels, rows, width);
            for row in 0..self.rows() {
                let values = rows.add(row * width);
                (self.plan.routines.activate)(values, width, *activation);
                if self.plan.precision == Precision::Int8 {
                    std::ptr::copy_nonoverlapping(values, self.inner.value(row * inner + first), width);
                } else {
                    self.encode(values, width, &self.inner_encoded, row, first);
                }
            }
        }
    }

    /// The addend's columns of some panels.
    fn contract(&self, input: &Encoded, matrix: &Matrix, panels: Range<usize>) {
        let hidden = self.plan.parameters.hidden;
        // SAFETY: the addend holds all rows of `hidden` values, and the panels' columns are this piece's own.
        unsafe {
            let output = self.addend.value(panels.start * PANEL);
            self.multiply(input, matrix, panels, output, hidden);
        }
    }

    fn pool(&self, texts: Range<usize>) {
        let hidden = self.plan.parameters.hidden;
        for text in texts {
            let (start, end) = (self.starts[text], self.starts[text + 1]);
            // SAFETY: results of the text are this piece's own; states were finished a step ago.
            unsafe {
                let result = self.results.value(text * hidden);
                std::ptr::copy_nonoverlapping(self.states.value(start * hidden), result, hidden);
                for row in start + 1..end {
                    let state = self.states.value(row * hidden);
                    match self.plan.pooling {
                        Pooling::Cls => break,
                        // The sum has the mean's direction, and only the direction is kept.
                        Pooling::Mean => (self.plan.routines.accumulate)(result, state, hidden),
                        Pooling::Max => {
                            for at in 0..hidden {
                                *result.add(at) = (*result.add(at)).max(*state.add(at));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Panels that pieces of `columns` columns are counted in: products take up to four at a time.
fn stride_of(columns: usize) -> usize {
    [4, 2].into_iter().find(|&panels| columns.is_multiple_of(PANEL * panels)).unwrap_or(1)
}

/// The panels of some blocks of them.
fn panels(blocks: &Range<usize>, columns: usize) -> Range<usize> {
    let stride = stride_of(columns);
    blocks.start * stride..blocks.end * stride
}

impl Work for Pass {
    fn steps(&self) -> u32 {
        u32::try_from(self.plan.steps.len()).expect("a model has a few hundred layers at most")
    }

    fn pieces(&self, step: u32) -> u16 {
        let (_, pieces) = self.units(self.plan.steps[step as usize]);
        u16::try_from(pieces).unwrap_or(u16::MAX)
    }

    fn run(&self, step: u32, piece: u16, worker: usize) {
        let step = self.plan.steps[step as usize];
        let share = self.share(step, piece);
        let Parameters { layers, inner, hidden, .. } = &self.plan.parameters;
        match step {
            Step::Embed => self.embed(share),
            Step::Attend(layer) => self.attend(layer, share, worker),
            Step::EncodeContext => {
                self.encode_rows(share, &self.context, self.plan.context(), &self.context_encoded);
            }
            Step::Project(layer) => {
                self.contract(&self.context_encoded, &layers[layer].projection, panels(&share, *hidden));
            }
            Step::JoinAttention(layer) => self.join(share, &layers[layer].attention_norm),
            Step::Expand(layer) => self.expand(layer, panels(&share, *inner), worker),
            Step::EncodeInner => self.encode_rows(share, &self.inner, *inner, &self.inner_encoded),
            Step::Contract(layer) => {
                self.contract(&self.inner_encoded, &layers[layer].contraction, panels(&share, *hidden));
            }
            Step::JoinOutput(layer) => self.join(share, &layers[layer].output_norm),
            Step::Pool => self.pool(share),
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
