//! What a program takes from its kernel besides I/O: time and chance. In a simulation's thread both are made up, so that a seed
//! decides everything: libc's functions are replaced by those here, which all other threads do not notice.
//!
//! The wall clock runs with the runtime's paused one, and steps when a fault says so. Each seed has a process of its own, forked
//! from one that has a cluster ready: nothing of one seed is left when the next begins.
#![expect(unsafe_code, reason = "libc's functions are replaced, and processes forked")]

use std::cell::Cell;
use std::io::{PipeReader, Read};
use std::time::Duration;

use corten_client::seeds::Chance;
use nix::libc::{self, c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tokio::time::Instant;

/// 2030-01-01: what certificates are good for, and far from any real one.
const WALL_BEGAN_SECS: u64 = 1_893_456_000;

/// What the monotonic clock shows when the runtime is made.
const MONOTONIC_BEGAN: Duration = Duration::from_secs(1_000_000);

/// A story takes some seconds of a core.
const STORY_SECS_MAX: c_uint = 300;

#[derive(Clone, Copy)]
struct Inside {
    /// The runtime's clock when it was made. None: there is no runtime yet.
    began: Option<Instant>,
    wall_millis_ahead: i64,
    chance: u64,
}

thread_local! {
    static INSIDE: Cell<Option<Inside>> = const { Cell::new(None) };
    /// The clock is being read: what the runtime's clock reads itself is real.
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` in a new runtime: this thread's time is that of the runtime, and its chance follows from the seed. Already when the
/// runtime is made: in which order it looks at what is ready is of chance too.
pub(crate) fn run<R>(seed: u64, work: impl Future<Output = R>) -> R {
    INSIDE.set(Some(Inside { began: None, wall_millis_ahead: 0, chance: seed }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let _inside = Entered;
        INSIDE.set(INSIDE.get().map(|inside| Inside { began: Some(Instant::now()), ..inside }));
        work.await
    })
}

/// Time and chance are the kernel's again when it is dropped: a thread that ends has no runtime left to ask.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        INSIDE.set(None);
    }
}

/// The wall clock jumps, for all programs at once.
pub(crate) fn step_wall_clock(millis: i64) {
    INSIDE.set(INSIDE.get().map(|inside| Inside { wall_millis_ahead: inside.wall_millis_ahead + millis, ..inside }));
}

fn real_time(clock: clockid_t) -> Duration {
    let mut at = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `at` outlives the call.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut at) };
    Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap_or(0))
}

fn simulated(clock: clockid_t) -> Option<Duration> {
    let inside = INSIDE.try_with(Cell::get).ok()??;
    if IS_READING.replace(true) {
        return None;
    }
    let elapsed = inside.began.map_or(Duration::ZERO, |began| began.elapsed());
    IS_READING.set(false);
    match clock {
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => {
            Some(MONOTONIC_BEGAN + elapsed)
        }
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            let wall = Duration::from_secs(WALL_BEGAN_SECS) + elapsed;
            let ahead = Duration::from_millis(inside.wall_millis_ahead.unsigned_abs());
            Some(if inside.wall_millis_ahead < 0 { wall.saturating_sub(ahead) } else { wall + ahead })
        }
        _ => None,
    }
}

/// # Safety
/// As libc's: `at` is a valid place.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, at: *mut timespec) -> c_int {
    let time = simulated(clock).unwrap_or_else(|| real_time(clock));
    let time = timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: the caller's promise.
    unsafe { at.write(time) };
    0
}

/// # Safety
/// As libc's: `into` has room for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(into: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    let Some(inside) = INSIDE.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the caller's promise.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, into, length, flags) };
        return ssize_t::try_from(got).unwrap_or(-1);
    };
    let mut chance = Chance(inside.chance);
    // SAFETY: the caller's promise.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), length) };
    into.iter_mut().for_each(|byte| *byte = u8::try_from(chance.below(256)).unwrap_or(0));
    INSIDE.set(Some(Inside { chance: chance.0, ..inside }));
    ssize_t::try_from(length).unwrap_or(-1)
}

/// A process that does its work and tells what it has found.
pub(crate) struct Child {
    pid: libc::pid_t,
    told: PipeReader,
}

/// `work` in a process of its own that begins as this one is.
pub(crate) fn fork(work: impl FnOnce() -> String + Send + 'static) -> std::io::Result<Child> {
    let (told, mut tell) = std::io::pipe()?;
    // SAFETY: the child uses nothing that another thread of this process could hold: a thread of its own does the work.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            drop(told);
            // SAFETY: it only sets a timer. A story that goes round in circles at one moment of its time never ends.
            unsafe { libc::alarm(STORY_SECS_MAX) };
            // What thread-locals hold of the parent's is not inherited by a new thread.
            let said = std::thread::spawn(work).join().unwrap_or_else(|_| "the simulation itself panicked".into());
            let status = i32::from(std::io::Write::write_all(&mut tell, said.as_bytes()).is_err());
            // SAFETY: ends the process without what the parent would do at its end.
            unsafe { libc::_exit(status) }
        }
        pid => Ok(Child { pid, told }),
    }
}

impl Child {
    /// What it has told, once it has ended.
    pub(crate) fn wait(mut self) -> String {
        let mut said = Vec::new();
        let read = self.told.read_to_end(&mut said);
        let mut status = 0;
        // SAFETY: `status` outlives the call; the child is ours.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        let said = String::from_utf8_lossy(&said).into_owned();
        match (read, status) {
            (Ok(_), 0) => said,
            (read, status) => format!("the process ended with status {status} ({read:?}): {said}"),
        }
    }
}
