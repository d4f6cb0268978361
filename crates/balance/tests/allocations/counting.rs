//! An allocator that counts what the present thread asks of the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
    static KEPT: Cell<isize> = const { Cell::new(0) };
}

fn count(calls: usize, freed: usize, bytes: isize) {
    // A thread that is ending has given its counters up; nobody measures it any more.
    let _ = CALLS.try_with(|cell| cell.set(cell.get() + calls));
    let _ = FREED.try_with(|cell| cell.set(cell.get() + freed));
    let _ = KEPT.try_with(|cell| cell.set(cell.get() + bytes));
}

// SAFETY: every call is passed on unchanged to the system's allocator, whose promises are therefore kept; the
// counting beside it touches thread-local integers only and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`, which is the one of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, 1, -layout.size().cast_signed());
        // SAFETY: as above; `place` came from `System` through `alloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread asked for memory in `work`.
pub(crate) fn allocations(work: impl FnOnce()) -> usize {
    asked_and_freed(work).0
}

/// How often this thread asked for memory in `work`, and how often it gave some back.
pub(crate) fn asked_and_freed(work: impl FnOnce()) -> (usize, usize) {
    let before = (CALLS.get(), FREED.get());
    work();
    (CALLS.get() - before.0, FREED.get() - before.1)
}

/// How many bytes more this thread holds after `work`.
pub(crate) fn bytes_kept(work: impl FnOnce()) -> usize {
    let before = KEPT.get();
    work();
    usize::try_from(KEPT.get() - before).unwrap_or(0)
}
