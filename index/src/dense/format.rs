//! The segment file: what stands in docs/storage-index.md, written and read.
//!
//! A file is either accepted whole or refused: every byte of it is covered by a checksum or must be zero, and every
//! number that is later used as an index is checked here, so that the search never has to.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::IndexError;
use crate::kernels::CODE_ALIGN;

use super::graph::{BaseView, Level};
use super::index::{MAX_DIMENSION, MAX_ROWS};
use super::map::map;
use super::number;
use super::rows::RowView;
use super::segment::{GraphParameters, Segment, Storage, Top};

const MAGIC: [u8; 8] = *b"FTMSEGMT";
/// Raised when a file of the old version can no longer be read.
const VERSION: u32 = 2;
/// Most bytes of a stamp.
const STAMP_LIMIT: usize = 256;
/// Sections start on multiples of this.
const SECTION_ALIGN: usize = 64;
const SECTIONS: usize = 8;
const STAMP_AT: usize = 48;
const TABLE_AT: usize = STAMP_AT + STAMP_LIMIT;
const CHECKSUM_AT: usize = HEADER_LENGTH - 8;
const HEADER_LENGTH: usize = 512;

/// Where each section lies in the file, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Layout([Range<usize>; SECTIONS]);

impl Layout {
    pub(super) fn rows<'a>(&self, file: &'a [u8], dimension: usize) -> RowView<'a> {
        let [docs, starts, codes, scales, fine, _, _, _] = &self.0;
        RowView {
            dimension,
            docs: words(file, docs),
            starts: words(file, starts),
            codes: bytemuck::cast_slice(&file[codes.clone()]),
            scales: bytemuck::cast_slice(&file[scales.clone()]),
            fine: bytemuck::cast_slice(&file[fine.clone()]),
        }
    }

    pub(super) fn base<'a>(&self, file: &'a [u8]) -> BaseView<'a> {
        let [_, _, _, _, _, offsets, neighbors, _] = &self.0;
        BaseView { offsets: words(file, offsets), neighbors: words(file, neighbors) }
    }
}

/// A section of `u32`. The map starts on a page and sections on multiples of 64, so the cast cannot fail; `read` has
/// checked that lengths are multiples of 4.
fn words<'a>(file: &'a [u8], section: &Range<usize>) -> &'a [u32] {
    bytemuck::cast_slice(&file[section.clone()])
}

/// Writes a segment under a temporary name, syncs it, renames it to `path` and syncs the folder.
pub(super) fn write(segment: &Segment, path: &Path, stamp: &[u8]) -> Result<(), IndexError> {
    if stamp.len() > STAMP_LIMIT {
        return Err(IndexError::StampTooLong { length: stamp.len(), limit: STAMP_LIMIT });
    }
    let view = segment.view();
    let base = segment.base();
    let upper = segment.top().map(|top| upper_words(&top.levels)).unwrap_or_default();
    let sections: [&[u8]; SECTIONS] = [
        bytemuck::cast_slice(view.docs),
        bytemuck::cast_slice(view.starts),
        bytemuck::cast_slice(view.codes),
        bytemuck::cast_slice(view.scales),
        bytemuck::cast_slice(view.fine),
        bytemuck::cast_slice(base.offsets),
        bytemuck::cast_slice(base.neighbors),
        bytemuck::cast_slice(&upper),
    ];
    let header = header(segment, stamp, &sections);

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(IndexError::io(folder))?;
    let mut file = BufWriter::with_capacity(1 << 20, temporary.as_file());
    file.write_all(&header).map_err(IndexError::io(path))?;
    let mut at = HEADER_LENGTH;
    for section in sections {
        let padding = at.next_multiple_of(SECTION_ALIGN) - at;
        file.write_all(&[0; SECTION_ALIGN][..padding]).map_err(IndexError::io(path))?;
        file.write_all(section).map_err(IndexError::io(path))?;
        at += padding + section.len();
    }
    file.flush().map_err(IndexError::io(path))?;
    drop(file);
    temporary.as_file().sync_all().map_err(IndexError::io(path))?;
    temporary.persist(path).map_err(|error| IndexError::io(path)(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(IndexError::io(folder))
}

fn header(segment: &Segment, stamp: &[u8], sections: &[&[u8]; SECTIONS]) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[..8].copy_from_slice(&MAGIC);
    let parameters = segment.top().map(|top| top.parameters).unwrap_or_default();
    let fields = [
        VERSION,
        number(segment.dimension()),
        number(segment.len_docs()),
        number(segment.len_rows()),
        u32::from(segment.has_graph()),
        segment.top().map_or(0, |top| top.entry),
        segment.top().map_or(0, |top| number(top.levels.len())),
        parameters.m,
        parameters.ef_construction,
        number(stamp.len()),
    ];
    for (at, field) in fields.iter().enumerate() {
        header[8 + at * 4..][..4].copy_from_slice(&field.to_le_bytes());
    }
    header[STAMP_AT..][..stamp.len()].copy_from_slice(stamp);
    let mut offset = HEADER_LENGTH;
    for (at, section) in sections.iter().enumerate() {
        offset = offset.next_multiple_of(SECTION_ALIGN);
        let entry = [offset as u64, section.len() as u64, xxh3_64(section)];
        for (part, value) in entry.iter().enumerate() {
            header[TABLE_AT + at * 24 + part * 8..][..8].copy_from_slice(&value.to_le_bytes());
        }
        offset += section.len();
    }
    let checksum = xxh3_64(&header[..CHECKSUM_AT]);
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The upper layers as words: for each, lowest first, the number of rows, the number of neighbours, and the three arrays.
fn upper_words(levels: &[Level]) -> Vec<u32> {
    let mut words = Vec::new();
    for Level { nodes, offsets, neighbors } in levels {
        words.extend([number(nodes.len()), number(neighbors.len())]);
        words.extend_from_slice(nodes);
        words.extend_from_slice(offsets);
        words.extend_from_slice(neighbors);
    }
    words
}

/// Maps and checks a segment file.
pub(super) fn read(path: &Path) -> Result<Segment, IndexError> {
    let damaged = |what: &str| IndexError::damaged(path, what);
    let file = File::open(path).map_err(IndexError::io(path))?;
    if file.metadata().map_err(IndexError::io(path))?.len() < HEADER_LENGTH as u64 {
        return Err(damaged("shorter than its header"));
    }
    let map = map(&file).map_err(IndexError::io(path))?;
    let header = map.get(..HEADER_LENGTH).ok_or_else(|| damaged("shorter than its header"))?;
    if header[..8] != MAGIC {
        return Err(damaged("it does not start as a segment file does"));
    }
    let field =
        |at: usize| u32::from_le_bytes(header[8 + at * 4..][..4].try_into().expect("four bytes are four bytes"));
    if field(0) != VERSION {
        return Err(IndexError::Mismatch {
            path: path.to_owned(),
            what: "format version",
            expected: VERSION.to_string(),
            found: field(0).to_string(),
        });
    }
    let long = |at: usize| u64::from_le_bytes(header[at..][..8].try_into().expect("eight bytes are eight bytes"));
    if long(CHECKSUM_AT) != xxh3_64(&header[..CHECKSUM_AT]) {
        return Err(damaged("checksum of the header does not hold"));
    }
    let counts = Counts {
        dimension: field(1) as usize,
        docs: field(2) as usize,
        rows: field(3) as usize,
        graph: field(4) == 1,
        levels: field(6) as usize,
    };
    if counts.dimension == 0 || counts.dimension > MAX_DIMENSION || counts.rows > MAX_ROWS || field(4) > 1 {
        return Err(damaged("dimension, rows or flags out of range"));
    }
    let layout = sections(&map, long).map_err(damaged)?;
    let top = check(&map, &layout, &counts, field(5)).map_err(damaged)?.map(|levels| Top {
        entry: field(5),
        levels,
        parameters: GraphParameters { m: field(7), ef_construction: field(8) },
    });
    let stamp = header.get(STAMP_AT..STAMP_AT + (field(9) as usize).min(STAMP_LIMIT + 1));
    let stamp = stamp.filter(|stamp| stamp.len() <= STAMP_LIMIT).ok_or_else(|| damaged("stamp too long"))?.to_vec();
    Ok(Segment::assemble(counts.dimension, Storage::Mapped { map, layout }, top, stamp))
}

struct Counts {
    dimension: usize,
    docs: usize,
    rows: usize,
    graph: bool,
    levels: usize,
}

/// Reads the section table: sections follow each other, only zeros between them, nothing after them, checksums hold.
fn sections(file: &[u8], long: impl Fn(usize) -> u64) -> Result<Layout, &'static str> {
    let mut layout: [Range<usize>; SECTIONS] = Default::default();
    let mut end = HEADER_LENGTH;
    for (at, section) in layout.iter_mut().enumerate() {
        let entry = TABLE_AT + at * 24;
        let start = usize::try_from(long(entry)).map_err(|_too_large| "section starts beyond memory")?;
        let length = usize::try_from(long(entry + 8)).map_err(|_too_large| "section longer than memory")?;
        if start != end.next_multiple_of(SECTION_ALIGN) {
            return Err("section does not start where the one before ends");
        }
        let gap = file.get(end..start).ok_or("file ends before a section starts")?;
        if gap.iter().any(|&byte| byte != 0) {
            return Err("bytes between sections are not zero");
        }
        end = start.checked_add(length).ok_or("section longer than memory")?;
        let bytes = file.get(start..end).ok_or("file ends before a section does")?;
        if xxh3_64(bytes) != long(entry + 16) {
            return Err("checksum of a section does not hold");
        }
        *section = start..end;
    }
    if end == file.len() { Ok(Layout(layout)) } else { Err("file is longer than its sections") }
}

/// Checks what the search relies on. Returns the upper layers, or none when there is no graph.
fn check(file: &[u8], layout: &Layout, counts: &Counts, entry: u32) -> Result<Option<Vec<Level>>, &'static str> {
    let &Counts { dimension, docs, rows, graph, levels } = counts;
    let [docs_at, starts_at, codes_at, scales_at, fine_at, offsets_at, neighbors_at, upper_at] = &layout.0;
    let base_words = if graph { rows + 1 } else { 0 };
    let expected = [
        (docs_at, docs * 4),
        (starts_at, (docs + 1) * 4),
        (codes_at, rows * dimension.next_multiple_of(CODE_ALIGN)),
        (scales_at, rows * 4),
        (fine_at, rows * dimension.next_multiple_of(CODE_ALIGN)),
        (offsets_at, base_words * 4),
    ];
    if expected.iter().any(|(section, length)| section.len() != *length) {
        return Err("section has another length than its header says");
    }
    if neighbors_at.len() % 4 != 0 || upper_at.len() % 4 != 0 {
        return Err("section of the graph is not made of whole numbers");
    }
    let view = layout.rows(file, dimension);
    if !view.docs.is_sorted_by(|a, b| a < b) {
        return Err("documents are not in ascending order");
    }
    if view.starts[0] != 0 || view.starts[docs] as usize != rows || !view.starts.is_sorted_by(|a, b| a < b) {
        return Err("rows of documents do not follow each other");
    }
    if view.starts.windows(2).any(|pair| pair[1] - pair[0] > u32::from(u16::MAX)) {
        return Err("document has more facets than can be numbered");
    }
    if !view.scales.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
        return Err("scale of a row is not a positive number");
    }
    if !graph {
        let empty = neighbors_at.is_empty() && upper_at.is_empty();
        return if empty { Ok(None) } else { Err("graph sections without a graph") };
    }
    let base = layout.base(file);
    check_lists(base.offsets, base.neighbors, rows)?;
    if entry as usize >= rows {
        return Err("entry point is no row");
    }
    let upper = read_upper(words(file, upper_at), levels, rows)?;
    Ok(Some(upper))
}

fn check_lists(offsets: &[u32], neighbors: &[u32], rows: usize) -> Result<(), &'static str> {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return Err("graph layer without offsets");
    };
    if first != 0 || last as usize != neighbors.len() || !offsets.is_sorted() {
        return Err("neighbour lists do not follow each other");
    }
    if neighbors.iter().any(|&row| row as usize >= rows) {
        return Err("neighbour is no row");
    }
    Ok(())
}

fn read_upper(mut words: &[u32], levels: usize, rows: usize) -> Result<Vec<Level>, &'static str> {
    let short = "upper graph layer is cut short";
    let mut upper = Vec::new();
    for _ in 0..levels {
        let (counts, rest) = words.split_at_checked(2).ok_or(short)?;
        let (nodes, rest) = rest.split_at_checked(counts[0] as usize).ok_or(short)?;
        let (offsets, rest) = rest.split_at_checked(counts[0] as usize + 1).ok_or(short)?;
        let (neighbors, rest) = rest.split_at_checked(counts[1] as usize).ok_or(short)?;
        check_lists(offsets, neighbors, rows)?;
        if !nodes.is_sorted_by(|a, b| a < b) || nodes.last().is_some_and(|&row| row as usize >= rows) {
            return Err("rows of an upper graph layer are not in order");
        }
        upper.push(Level { nodes: nodes.to_vec(), offsets: offsets.to_vec(), neighbors: neighbors.to_vec() });
        words = rest;
    }
    if words.is_empty() { Ok(upper) } else { Err("more upper graph layers than the header says") }
}
