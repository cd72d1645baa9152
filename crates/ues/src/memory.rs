//! Keeping the process small.

/// Where jemalloc reads how it is to work; an operator who sets it decides alone. On Linux it serves what is written in
/// C too, under its usual names.
#[cfg(all(unix, not(target_env = "msvc")))]
const ALLOCATOR: &str = if cfg!(target_os = "linux") {
    "MALLOC_CONF"
} else {
    "_RJEM_MALLOC_CONF"
};

/// Starts the program again, once, with an allocator that suits a node.
///
/// jemalloc has four arenas per core, and keeps what was freed for ten seconds and until a thread comes by. Here it
/// gets one arena per core, and a thread of its own that gives freed memory back within a moment. Both can
/// be set only from outside, before the program starts. The process keeps its number; where this does not work
/// (another system, a program file that is gone) everything goes on as it is.
pub fn set_up() {
    #[cfg(all(unix, not(target_env = "msvc")))]
    {
        use std::os::unix::process::CommandExt;

        if std::env::var_os(ALLOCATOR).is_some() {
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
                .env(ALLOCATOR, options(cores))
                .exec();
        }
    }
}

/// How long freed memory is kept for the next who wants some.
#[cfg(all(unix, not(target_env = "msvc")))]
const KEEP_MS: u32 = 250;

#[cfg(all(unix, not(target_env = "msvc")))]
fn options(cores: usize) -> String {
    format!("background_thread:true,narenas:{cores},dirty_decay_ms:{KEEP_MS},muzzy_decay_ms:0")
}
