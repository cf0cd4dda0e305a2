//! Memory for what is made and read within one piece of work on one thread.

use std::cell::RefCell;

/// Values of a line of the cache.
pub(crate) const LINE: usize = 16;

thread_local! {
    /// Buffers that are not in use, kept from call to call.
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` values of any kind, which begin a line of the cache: a vector of AVX-512 across two lines takes
/// twice as long.
pub(crate) fn with_buffer(len: usize, f: impl FnOnce(&mut [f32])) {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer.resize(len + LINE, 0.0);
    }
    let start = line_start(&buffer);
    f(&mut buffer[start..start + len]);
    BUFFERS.with_borrow_mut(|free| free.push(buffer));
}

/// The place of the first of `values` that begins a line of the cache; at most [`LINE`] lie before it.
pub(crate) fn line_start(values: &[f32]) -> usize {
    values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE)
}
