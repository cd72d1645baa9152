//! Keeping the process small.

/// How glibc's allocator is told how many arenas it may have.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// From which size a piece of memory is the system's own business, given back as soon as it is freed.
///
/// glibc raises this bound by itself when large pieces are freed; then the 19 MiB of a password hash come from an
/// arena, small pieces settle in the hole, and the next hash makes the process larger again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "262144");

/// Starts the program again, once, with as many arenas of memory as the machine has cores.
///
/// glibc gives up to eight arenas per core, each thread that finds the others busy its own, and keeps what was
/// freed in each. For a node that means half as much memory again after a day's work. The number can be set only
/// from outside, before the program starts. The process keeps its number; where this does not work (another
/// system, a program file that is gone) everything goes on as it is.
pub fn limit_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        if std::env::var_os(ARENAS).is_some() {
            return;
        }
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
        if let Ok(program) = std::env::current_exe() {
            let mut arguments = std::env::args_os();
            let mut command = std::process::Command::new(program);
            if let Some(name) = arguments.next() {
                command.arg0(name);
            }
            // Returns only when it fails, and then nothing is lost.
            let _ = command
                .args(arguments)
                .env(ARENAS, cores.to_string())
                .env(LARGE.0, LARGE.1)
                .exec();
        }
    }
}
